"""Factorization: groups found in images or activations, or those of a basis found again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from striate_service.explain.bases import Library
from striate_service.explain.group_pictures import GroupStyle
from striate_service.explain.groups import GroupExplainer, GroupsAnswer, describe_groups
from striate_service.explain.icons import NO_ICON, IconOptions
from striate_service.explain.image_runner import ImageRunner
from striate_service.explain.images import GivenImages
from striate_service.explain.importance import GroupImportance
from striate_service.explain.labels import NO_LABEL
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.monitoring.metrics import Metrics
from striate_service.scheduling.engine import Engine, Terms
from striate_service.stores.bases import StoredBasis
from striate_service.techniques.methods import MethodChoice
from striate_service.techniques.targets import Target
from striate_service.techniques.tasks.base import Array
from striate_service.techniques.tasks.groups import FactorizeActivationsTask, FactorizeTask, GroupsResult


@dataclass(frozen=True)
class ImageGroupsQuestion:
    """Which groups of neurons work together in images?"""

    model: ModelDescription
    images: GivenImages
    layer: LayerDescription
    """[C, H, W]"""
    components: int
    """How many groups. 0: as many as the activations ask for."""
    targets: tuple[Target, ...]
    """Explain these. Empty: the logits of the most probable classes."""
    class_count: int
    """How many of the most probable classes to predict and, where `targets` is empty, to explain."""
    method: MethodChoice
    """The basis's own, where there is one."""
    rectify: bool
    """Count negative activations as 0."""
    basis: StoredBasis | None
    """Look for its groups, and find no others."""
    save_as: str
    """Keep the groups as a basis of this name. Empty: do not."""
    sobol_points: int
    """At which the groups' strengths are varied for Sobol indices. 0: compute none."""
    smooth_max_pool: bool
    """Let gradients pass max pools as `techniques.max_pooling` says."""
    icons: IconOptions


@dataclass(frozen=True)
class ActivationGroupsQuestion:
    """Which groups are in activations from elsewhere?"""

    activations: NDArray[np.float32]
    """[N, C, H, W]"""
    components: int
    method: MethodChoice
    rectify: bool


class Factorizations:
    def __init__(
        self,
        runner: ImageRunner,
        engine: Engine,
        explainer: GroupExplainer,
        library: Library,
        importance: GroupImportance,
        metrics: Metrics,
    ) -> None:
        self._runner = runner
        self._engine = engine
        self._explainer = explainer
        self._library = library
        self._importance = importance
        self._metrics = metrics

    async def answer(self, question: ImageGroupsQuestion | ActivationGroupsQuestion, terms: Terms) -> GroupsAnswer:
        if isinstance(question, ImageGroupsQuestion):
            return await self._in_images(question, terms)
        return await self._in_activations(question, terms)

    async def _in_images(self, question: ImageGroupsQuestion, terms: Terms) -> GroupsAnswer:
        model, layer, basis = question.model, question.layer, question.basis
        decoded, result = await self._runner.run(_task(question), model, question.images, terms)
        self._metrics.observe_factorization(result.method, int(result.iterations), float(result.relative_error))
        style = GroupStyle(basis.colors, basis.scale) if basis else GroupStyle.of(result.spatial)
        answer = await self._explainer.explain(model, layer, result, decoded, style, question.icons, terms)
        if question.sobol_points:
            indices = await self._importance.sobol_indices(
                model, layer.path, result, decoded.pixels, question.sobol_points, terms
            )
            answer = _with_sobol_indices(answer, indices)
        if question.save_as:
            await self._library.save(_basis(question, result, style))
        return replace(
            answer, basis=basis.name if basis else question.save_as, smooth_max_pool=question.smooth_max_pool
        )

    async def _in_activations(self, question: ActivationGroupsQuestion, terms: Terms) -> GroupsAnswer:
        activations, components = question.activations, question.components
        task = FactorizeActivationsTask("", activations, components, question.rectify, question.method)
        result = await self._engine.submit(task, terms, batch_key=(activations.shape, components))
        self._metrics.observe_factorization(result.method, int(result.iterations), float(result.relative_error))
        style = GroupStyle.of(result.spatial)
        images, *_, found = result.spatial.shape
        return GroupsAnswer(
            result,
            describe_groups(result.directions, result.importance, style.colors, [NO_ICON] * found, [NO_LABEL] * found),
            np.zeros((images, found, 0), np.float32),
            style,
        )


def _task(question: ImageGroupsQuestion) -> FactorizeTask:
    return FactorizeTask(
        model=question.model.name,
        targets=question.targets,
        class_count=question.class_count,
        layer=question.layer.path,
        components=question.components,
        rectify=question.rectify,
        method=question.method,
        directions=question.basis.directions if question.basis else None,
        smooth_max_pool=question.smooth_max_pool,
    )


def _with_sobol_indices(answer: GroupsAnswer, indices: Array) -> GroupsAnswer:
    groups = [
        replace(group, sobol_indices=means.tolist())
        for group, means in zip(answer.groups, indices.mean(axis=0), strict=True)
    ]
    return replace(answer, groups=groups, sobol_indices=indices)


def _basis(question: ImageGroupsQuestion, result: GroupsResult, style: GroupStyle) -> StoredBasis:
    return StoredBasis(
        name=question.save_as,
        model_version=question.model.version,
        model=question.model.name,
        layer=question.layer.path,
        directions=result.directions,
        colors=style.colors,
        importance=result.importance,
        scale=style.scale,
        relative_error=float(result.relative_error),
        images=len(result.spatial),
        fit=int(question.images.fit),
        rectify=question.rectify,
        method=result.method,
    )
