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
            decoded = await self._decoder.decode(given, model)
            return decoded, await place.run(decoded.pixels)
