"""What layers compute for images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from striate_service.explain.image_runner import ImageRunner
from striate_service.explain.images import GivenImages, View
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.scheduling.engine import Terms
from striate_service.techniques.tasks.activations import ActivationsResult, ActivationsTask


@dataclass(frozen=True)
class ActivationsQuestion:
    model: ModelDescription
    images: GivenImages
    layers: Sequence[LayerDescription]
    reduction: Literal["none", "mean", "max"]
    """Over positions."""
    channels: tuple[int, ...]
    """In the order wanted. Empty: all."""
    positions: tuple[tuple[int, int], ...]
    """Row and column. Empty: all."""
    half: bool
    """float16, not float32."""
    class_count: int
    """How many classes to predict."""


@dataclass(frozen=True)
class ActivationsAnswer:
    result: ActivationsResult
    views: Sequence[View]
    """One an image."""


class Activations:
    def __init__(self, runner: ImageRunner) -> None:
        self._runner = runner

    @property
    def worker_count(self) -> int:
        return self._runner.worker_count

    async def answer(self, question: ActivationsQuestion, terms: Terms) -> ActivationsAnswer:
        task = ActivationsTask(
            model=question.model.name,
            classes=(),
            class_count=question.class_count,
            layers=tuple(layer.path for layer in question.layers),
            reduction=question.reduction,
            channels=question.channels,
            positions=question.positions,
            half=question.half,
        )
        decoded, result = await self._runner.run(task, question.model, question.images, terms)
        return ActivationsAnswer(result, decoded.views)
