"""What all questions about images share: a place or a refusal, decoded images, and a task carried out on them."""

from __future__ import annotations

from typing import TypeVar

from striate_service.explain.decoding import DecodedImages, ImageDecoder
from striate_service.explain.images import GivenImages
from striate_service.models.description import ModelDescription
from striate_service.scheduling.engine import Engine, Terms
from striate_service.techniques.tasks.base import ImageTask

R = TypeVar("R")


class ImageRunner:
    def __init__(self, engine: Engine, decoder: ImageDecoder) -> None:
        self._engine = engine
        self._decoder = decoder

    @property
    def worker_count(self) -> int:
        return self._engine.worker_count

    async def run(
        self, task: ImageTask[R], model: ModelDescription, given: GivenImages, terms: Terms
    ) -> tuple[DecodedImages, R]:
        """Read the images' headers, get the task a place, and only then decode the images and carry it out.

        Raises:
            RequestError: an image cannot be read, or the task is not admitted, expires, is refused or fails.
        """
        opened = self._decoder.open(given.images)
        async with self._engine.admission(
            task, len(given.images), preprocessed=given.preprocessed, terms=terms
        ) as place:
            decoded = await self._decoder.decode(opened, given, model)
            opened.clear()  # whole pictures: while the task waits for its turn, only their pixels stay in memory
            return decoded, await place.run(decoded.pixels)
