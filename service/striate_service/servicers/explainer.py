"""What the image-based RPCs share: a place or a refusal, decoded images, and a task carried out on them."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from striate.v1 import common_pb2 as pb

from striate_service.backends.local.shared_memory import Arrays
from striate_service.models.description import ModelDescription
from striate_service.scheduling.engine import Engine, Terms
from striate_service.servicers.decoding import DecodedImages, ImageDecoder
from striate_service.techniques.tasks import ImageTask


class Explainer:
    def __init__(self, engine: Engine, decoder: ImageDecoder) -> None:
        self._engine = engine
        self._decoder = decoder

    @property
    def models(self) -> tuple[ModelDescription, ...]:
        """What is served; the first is the default."""
        return self._engine.models

    async def explain(
        self,
        task: ImageTask,
        model: ModelDescription,
        given: Sequence[pb.Image],
        field: str,
        fit: pb.Fit,
        terms: Terms,
        others: Arrays = MappingProxyType({}),
    ) -> tuple[DecodedImages, Arrays]:
        """Check images, get them a place or a refusal, and only then decode and explain them.

        Args:
            others: what goes in beside the images.
        """
        opened = self._decoder.open(given, field, model)
        preprocessed = given[0].WhichOneof("source") == "preprocessed"
        kind = type(task).__name__
        async with self._engine.admission(
            kind, model.name, len(given), preprocessed=preprocessed, terms=terms
        ) as place:
            decoded = await self._decoder.decode(opened, field, model, fit)
            opened.clear()  # whole pictures: they are not to wait in memory for the turn of what was made of them
            return decoded, await place.run(task, {"images": decoded.pixels, **others})
