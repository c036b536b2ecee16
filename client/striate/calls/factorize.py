"""Factorize: which groups of neurons are active together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.calls.fields import fit_value, method_value
from striate.calls.options import ExplanationOptions, MethodOptions
from striate.calls.replies import read_group, read_layer, read_method, read_model_ref, read_predictions, read_view
from striate.calls.targets import target_messages
from striate.images import Image, as_list, seen_part, write_image
from striate.results.groups import Choice, Convergence, Fidelity
from striate.results.icons import IconSource
from striate.show import Factorization
from striate.show.overlays import DrawnOverlays
from striate.tensors import array_from_tensor, write_tensor
from striate.v1 import interpretability_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class FactorizeCall(ExplanationOptions, MethodOptions):
    """Which groups of neurons are active together here?"""

    images: Image | Sequence[Image] | None = field(default=None, repr=False)
    """One or several, which are factorized together: a group means the same in all of them."""
    layer: str = ""
    """The path or alias of a layer of shape [channels, height, width]. It can be left out where `basis` is given."""
    activations: NDArray[Any] | None = field(default=None, repr=False)
    """[N, C, H, W], instead of images and layer."""
    components: int | None = None
    """How many groups, 6 by default; 0: as many as the activations ask for."""
    basis: str = ""
    """The name of a basis, whose groups are looked for, instead of finding new ones."""
    save_as: str = ""
    """Keep the groups as a basis of this name."""
    sobol_points: int = 0
    """Add Sobol indices, estimated from so many points; 32 is usual. Each takes (components + 2) forwards an image."""

    def request(self) -> messages.FactorizeRequest:
        """Return the message.

        Raises:
            TypeError: there are both images and activations, or neither.
        """
        if (self.images is None) == (self.activations is None):
            raise TypeError("factorize takes images and a layer, or activations; give one of them.")
        request = messages.FactorizeRequest(
            model=self.model,
            components=self.components,
            basis=self.basis,
            save_as=self.save_as,
            classes=self.class_count,
            class_names=self.class_names,
            targets=target_messages(self.targets),
            sobol_points=self.sobol_points,
            method=method_value(self.method),
            rectify=self.rectify,
            wait_for_icons=self.wait_for_icons,
            omit_icons=not self.icons,
            recipe=self.recipe,
            smooth_max_pool=self.smooth_max_pool,
            omit_overlays=True,  # the result draws them, when they are looked at
        )
        if self.images is None:
            array = np.asarray(self.activations)
            write_tensor(request.activations, array if array.dtype == np.float16 else array.astype(np.float32))
            return request
        for image in as_list(self.images):
            write_image(request.images.images.add(), image)
        request.images.fit = fit_value(self.fit)
        request.images.layer = self.layer
        return request

    def result(self, response: messages.FactorizeResponse, client: IconSource | None = None) -> Factorization:
        return read_factorization(response, [] if self.images is None else as_list(self.images), client)


def read_factorization(
    response: messages.FactorizeResponse, images: Sequence[Image], client: IconSource | None
) -> Factorization:
    """Return a factorization of images as they were given."""
    classes = [each.name for each in response.classes]
    spatial = array_from_tensor(response.spatial)
    seen = [seen_part(image, view) for image, view in zip(images, response.views, strict=True)]
    colors = np.array([group.color for group in response.groups], ">u4").view(np.uint8).reshape(-1, 4)[:, 1:]
    return Factorization(
        model=read_model_ref(response.model) if response.HasField("model") else None,
        layer=read_layer(response.layer) if response.HasField("layer") else None,
        views=[read_view(view, image) for image, view in zip(images, response.views, strict=True)],
        predictions=[read_predictions(each) for each in response.predictions],
        spatial=spatial,
        directions=array_from_tensor(response.directions),
        relative_error=response.relative_error,
        groups=[read_group(group, classes) for group in response.groups],
        classes=classes,
        effects=array_from_tensor(response.effects),
        residual_effects=array_from_tensor(response.residual_effects),
        # An earlier server draws them, unasked.
        overlays=list(response.overlays) or DrawnOverlays(seen, spatial, colors, response.overlay_scale),
        images=seen,
        fidelity=[
            Fidelity(each.kl_divergence, each.same_top_class, list(each.probabilities)) for each in response.fidelity
        ],
        choices=[Choice(each.components, each.relative_error, each.explained_variance) for each in response.choices],
        sobol_indices=array_from_tensor(response.sobol_indices) if response.HasField("sobol_indices") else None,
        basis=response.basis,
        smooth_max_pool=response.smooth_max_pool,
        client=client,
        method=read_method(response.method),
        convergence=Convergence(response.convergence.iterations, response.convergence.ran_out)
        if response.HasField("convergence")
        else None,
    )
