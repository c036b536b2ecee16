"""What the requests of InterpretabilityService are read with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from striate.v1 import common_pb2 as pb

from striate_service.explain.bases import Library
from striate_service.explain.icons import RecipeChoice
from striate_service.explain.images import GivenImages
from striate_service.models.description import ModelDescription
from striate_service.scheduling.catalogue import Catalogue
from striate_service.servicers import reading
from striate_service.techniques.objective import Signature


@dataclass(frozen=True)
class Reader:
    """What the server has: models, bases, recipes, objectives, limits."""

    catalogue: Catalogue
    library: Library
    recipes: RecipeChoice
    max_images: int
    """That one request may bring."""

    @property
    def models(self) -> Sequence[ModelDescription]:
        return self.catalogue.models

    @property
    def objectives(self) -> Mapping[str, Signature]:
        return self.catalogue.objectives

    def images(self, images: Sequence[pb.Image], field: str, fit: pb.Fit, model: ModelDescription) -> GivenImages:
        fit_field = field.removesuffix("images") + "fit"
        return reading.read_images(images, field, reading.read_fit(fit, fit_field), model, self.max_images)
