"""Group flows: the groups of several layers, and how those of one feed those of the next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from striate_service.explain.group_pictures import GroupStyle
from striate_service.explain.groups import GroupExplainer, GroupsAnswer
from striate_service.explain.icons import IconOptions
from striate_service.explain.image_runner import ImageRunner
from striate_service.explain.images import GivenImages
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.monitoring.metrics import Metrics
from striate_service.scheduling.engine import Terms
from striate_service.techniques.methods import MethodChoice
from striate_service.techniques.targets import Target
from striate_service.techniques.tasks.groups import FactorizeLayersTask, FlowResult


@dataclass(frozen=True)
class FlowsQuestion:
    model: ModelDescription
    images: GivenImages
    layers: Sequence[LayerDescription]
    """[C, H, W] each, in the order in which they compute."""
    components: int
    """How many groups of each. 0: as many as its activations ask for."""
    targets: tuple[Target, ...]
    """Explain these. Empty: the logits of the most probable classes."""
    class_count: int
    """How many of the most probable classes to predict and, where `targets` is empty, to explain."""
    method: MethodChoice
    """ "auto" chooses for each layer."""
    rectify: bool
    """Count negative activations as 0."""
    smooth_max_pool: bool
    """Let gradients pass max pools as `techniques.max_pooling` says."""
    icons: IconOptions


@dataclass(frozen=True)
class FlowsAnswer:
    layers: Sequence[GroupsAnswer]
    flows: Sequence[FlowResult]
    """From each layer but the last to the next."""


class GroupFlows:
    def __init__(self, runner: ImageRunner, explainer: GroupExplainer, metrics: Metrics) -> None:
        self._runner = runner
        self._metrics = metrics
        self._explainer = explainer

    async def answer(self, question: FlowsQuestion, terms: Terms) -> FlowsAnswer:
        model = question.model
        task = FactorizeLayersTask(
            model=model.name,
            targets=question.targets,
            class_count=question.class_count,
            layers=tuple(layer.path for layer in question.layers),
            components=question.components,
            rectify=question.rectify,
            method=question.method,
            smooth_max_pool=question.smooth_max_pool,
        )
        decoded, result = await self._runner.run(task, model, question.images, terms)
        for found in result.layers:
            self._metrics.observe_factorization(found.method, int(found.iterations), float(found.relative_error))
        layers = await asyncio.gather(
            *(
                self._explainer.explain(
                    model, layer, groups, decoded, GroupStyle.of(groups.spatial), question.icons, terms
                )
                for layer, groups in zip(question.layers, result.layers, strict=True)
            )
        )
        answers = [replace(layer, smooth_max_pool=question.smooth_max_pool) for layer in layers]
        return FlowsAnswer(answers, result.flows)
