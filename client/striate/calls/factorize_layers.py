"""FactorizeLayers: which groups of one layer feed those of the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from striate.calls.factorize import read_factorization
from striate.calls.fields import fit_value, method_value
from striate.calls.options import ExplanationOptions, MethodOptions
from striate.calls.targets import target_messages
from striate.images import Image, as_list, write_image
from striate.results.groups import Flow
from striate.results.icons import IconSource
from striate.show import FactorizedLayers
from striate.tensors import array_from_tensor
from striate.v1 import interpretability_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class FactorizeLayersCall(ExplanationOptions, MethodOptions):
    """Which groups of one layer feed those of the next?"""

    images: Image | Sequence[Image] = field(repr=False)
    """One or several, which are factorized together: a group means the same in all of them."""
    layers: Sequence[str]
    """Paths or aliases of layers of shape [channels, height, width], in the order in which they are computed."""
    components: int | None = None
    """How many groups in each layer, 6 by default; 0: as many as its activations ask for."""

    def request(self) -> messages.FactorizeLayersRequest:
        request = messages.FactorizeLayersRequest(
            model=self.model,
            fit=fit_value(self.fit),
            layers=self.layers,
            components=self.components,
            classes=self.class_count,
            class_names=self.class_names,
            targets=target_messages(self.targets),
            method=method_value(self.method),
            rectify=self.rectify,
            wait_for_icons=self.wait_for_icons,
            omit_icons=not self.icons,
            recipe=self.recipe,
            smooth_max_pool=self.smooth_max_pool,
            omit_overlays=True,  # the result draws them, when they are looked at
        )
        for image in as_list(self.images):
            write_image(request.images.add(), image)
        return request

    def result(self, response: messages.FactorizeLayersResponse, client: IconSource | None = None) -> FactorizedLayers:
        images = as_list(self.images)
        return FactorizedLayers(
            [read_factorization(each, images, client) for each in response.layers],
            [Flow(array_from_tensor(each.influence), array_from_tensor(each.residual)) for each in response.flows],
            client=client,
        )
