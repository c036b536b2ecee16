"""What all questions about images share: a place or a refusal, decoded images, and a task carried out on them.

A technique whose result needs no names, icons or pictures beside it needs no file of its own in this folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from striate_service.explain.decoding import DecodedImages, ImageDecoder
from striate_service.explain.images import GivenImages, View
from striate_service.models.description import ModelDescription
from striate_service.monitoring.requests import spending
from striate_service.scheduling.engine import Engine, Terms
from striate_service.techniques.tasks.base import ImageTask

R = TypeVar("R")


@dataclass(frozen=True)
class ImageQuestion(Generic[R]):
    """A task on images whose result is the answer."""

    model: ModelDescription
    images: GivenImages
    task: ImageTask[R]


@dataclass(frozen=True)
class ImageAnswer(Generic[R]):
    result: R
    views: Sequence[View]
    """One an image."""


class ImageRunner:
    def __init__(self, engine: Engine, decoder: ImageDecoder) -> None:
        self._engine = engine
        self._decoder = decoder

    @property
    def worker_count(self) -> int:
        return self._engine.worker_count

    async def answer(self, question: ImageQuestion[R], terms: Terms) -> ImageAnswer[R]:
        """Carry out a question's task, as `run` does."""
        decoded, result = await self.run(question.task, question.model, question.images, terms)
        return ImageAnswer(result, decoded.views)

    async def run(
        self, task: ImageTask[R], model: ModelDescription, given: GivenImages, terms: Terms
    ) -> tuple[DecodedImages, R]:
        """Get the task a place, and only then look into the images: who is refused has cost nothing.

        Raises:
            RequestError: an image cannot be read, or the task is not admitted, expires, is refused or fails.
        """
        async with self._engine.admission(
            task, len(given.images), preprocessed=given.preprocessed, terms=terms
        ) as place:
            with spending("decode"):
                decoded = await self._decoder.decode(given, model)
            return decoded, await place.run(decoded.pixels)
