"""Calls about neuron groups: from arguments to requests, and from replies to results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate import calls
from striate.calls import Fit
from striate.groups import Basis, BuildProgress, Choice, Crop, Factorization, FactorizedLayers, Fidelity, Flow, Group
from striate.images import Image, as_list, seen_part, write_image
from striate.tensors import array_from_tensor, write_tensor
from striate.uploads import Upload
from striate.v1 import bases_pb2
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages


@dataclass(frozen=True)
class FactorizeCall:
    images: Sequence[Image]
    request: messages.FactorizeRequest

    @classmethod
    def of(
        cls,
        images: Image | Sequence[Image] | None = None,
        layer: str = "",
        *,
        activations: NDArray[Any] | None = None,
        model: str = "",
        components: int | None = None,
        basis: str = "",
        save_as: str = "",
        classes: int | Sequence[str] | None = None,
        sobol_points: int = 0,
        rectify: bool = False,
        wait_for_icons: bool = True,
        icons: bool = True,
        recipe: str = "",
        fit: Fit = "crop",
    ) -> FactorizeCall:
        if (images is None) == (activations is None):
            raise TypeError("factorize takes images and a layer, or activations; give one of them.")
        request = messages.FactorizeRequest(
            model=model,
            components=components,
            basis=basis,
            save_as=save_as,
            sobol_points=sobol_points,
            rectify=rectify,
            wait_for_icons=wait_for_icons,
            omit_icons=not icons,
            recipe=recipe,
        )
        calls.set_classes(request, classes)
        if images is None:
            array = np.asarray(activations)
            write_tensor(request.activations, array if array.dtype == np.float16 else array.astype(np.float32))
            return cls([], request)
        given = as_list(images)
        for image in given:
            write_image(request.images.images.add(), image)
        request.images.fit = calls.enum_value(pb.Fit, "FIT", fit, "fit")
        request.images.layer = layer
        return cls(given, request)

    def result(self, response: messages.FactorizeResponse) -> Factorization:
        return _factorization(response, self.images)


@dataclass(frozen=True)
class FactorizeLayersCall:
    images: Sequence[Image]
    request: messages.FactorizeLayersRequest

    @classmethod
    def of(
        cls,
        images: Image | Sequence[Image],
        layers: Sequence[str],
        *,
        model: str = "",
        components: int | None = None,
        classes: int | Sequence[str] | None = None,
        rectify: bool = False,
        wait_for_icons: bool = True,
        icons: bool = True,
        recipe: str = "",
        fit: Fit = "crop",
    ) -> FactorizeLayersCall:
        given = as_list(images)
        request = messages.FactorizeLayersRequest(
            model=model,
            fit=calls.enum_value(pb.Fit, "FIT", fit, "fit"),
            layers=layers,
            components=components,
            rectify=rectify,
            wait_for_icons=wait_for_icons,
            omit_icons=not icons,
            recipe=recipe,
        )
        for image in given:
            write_image(request.images.add(), image)
        calls.set_classes(request, classes)
        return cls(given, request)

    def result(self, response: messages.FactorizeLayersResponse) -> FactorizedLayers:
        return FactorizedLayers(
            [_factorization(each, self.images) for each in response.layers],
            [Flow(array_from_tensor(each.influence), array_from_tensor(each.residual)) for each in response.flows],
        )


def _factorization(response: messages.FactorizeResponse, images: Sequence[Image]) -> Factorization:
    classes = [each.name for each in response.classes]
    return Factorization(
        model=calls.model_ref(response.model) if response.HasField("model") else None,
        layer=calls.layer_result(response.layer) if response.HasField("layer") else None,
        views=[calls.view_of(view) for view in response.views],
        predictions=[calls.predictions_of(each) for each in response.predictions],
        spatial=array_from_tensor(response.spatial),
        directions=array_from_tensor(response.directions),
        relative_error=response.relative_error,
        groups=[_group(group, classes) for group in response.groups],
        classes=classes,
        effects=array_from_tensor(response.effects),
        residual_effects=array_from_tensor(response.residual_effects),
        overlays=list(response.overlays),
        images=[seen_part(image, view) for image, view in zip(images, response.views, strict=True)],
        fidelity=[Fidelity(each.kl_divergence, each.same_top_class) for each in response.fidelity],
        choices=[Choice(each.components, each.relative_error, each.explained_variance) for each in response.choices],
        sobol_indices=array_from_tensor(response.sobol_indices) if response.HasField("sobol_indices") else None,
        basis=response.basis,
    )


def _group(group: messages.Group, classes: list[str]) -> Group:
    return Group(
        color=f"#{group.color:06x}",
        icon_file=calls.icon_of(group.icon),
        label=calls.label(group.label),
        importance=group.importance,
        channels=list(group.channels),
        effects=dict(zip(classes, group.effects, strict=True)),
        crops=[
            Crop(crop.image, (crop.box.left, crop.box.top, crop.box.right, crop.box.bottom), crop.strength)
            for crop in group.crops
        ],
        sobol_indices=dict(zip(classes, group.sobol_indices, strict=bool(group.sobol_indices))),
    )


def bases_result(response: bases_pb2.ListBasesResponse) -> list[Basis]:
    return [Basis(**_facts(basis)) for basis in response.bases]


def basis_result(response: bases_pb2.GetBasisResponse) -> Basis:
    return Basis(
        **_facts(response.basis),
        groups=[_group(group, []) for group in response.groups],
        directions=array_from_tensor(response.directions),
    )


class BuildCall:
    """One call of `BuildBasis`."""

    def __init__(
        self,
        name: str,
        images: Iterable[Image],
        layer: str,
        *,
        model: str,
        components: int | None,
        rectify: bool,
        fit: Fit,
        folder: str,
        max_message_bytes: int,
    ) -> None:
        self._images = images
        self._start = bases_pb2.BuildStart(
            name=name,
            model=model,
            layer=layer,
            fit=calls.enum_value(pb.Fit, "FIT", fit, "fit"),
            components=components,
            rectify=rectify,
            folder=folder,
        )
        self._upload = Upload(max_message_bytes)
        self._unsent: list[int] = []
        """Numbers of images, ascending."""
        self.errors = self._upload.errors

    def requests(self) -> Iterator[bases_pb2.BuildBasisRequest]:
        return self._upload.requests(
            bases_pb2.BuildBasisRequest(start=self._start),
            ((str(number), _message(image)) for number, image in enumerate(self._images)),
            lambda batch: bases_pb2.BuildBasisRequest(images=bases_pb2.BuildImages(images=batch)),
        )

    def progress(self, response: bases_pb2.BuildBasisResponse) -> BuildProgress:
        unsent = self._upload.skipped()
        self._unsent += [int(number) for number, _ in unsent]
        return BuildProgress(
            phase=bases_pb2.BuildPhase.Name(response.phase).removeprefix("BUILD_PHASE_").lower(),
            image_count=response.image_count,
            total_images=response.total_images if response.HasField("total_images") else None,
            progress=response.progress,
            skipped=[*unsent, *((self._name(each.name), each.reason) for each in response.skipped)],
            basis=Basis(**_facts(response.basis)) if response.HasField("basis") else None,
        )

    def _name(self, name: str) -> str:
        """Return a path in the server's folder as it is, and the number of an image as it was given here."""
        if self._start.folder:
            return name
        number = int(name)
        for unsent in self._unsent:  # the server has not counted these
            number += unsent <= number
        return str(number)


def _message(image: Image) -> pb.Image:
    message = pb.Image()
    write_image(message, image)
    return message


def _facts(basis: bases_pb2.Basis) -> dict[str, Any]:
    return {
        "name": basis.name,
        "model": calls.model_ref(basis.model),
        "layer": basis.layer,
        "components": basis.components,
        "image_count": basis.image_count,
        "relative_error": basis.relative_error,
        "fit": pb.Fit.Name(basis.fit).removeprefix("FIT_").lower(),
        "rectify": basis.rectify,
        "created": basis.create_time.ToDatetime(),
    }
