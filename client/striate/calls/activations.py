"""Activations and StreamActivations: what layers compute for images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import grpc

from striate.calls.fields import enum_value, fit_value, layer_names, position_messages
from striate.calls.options import ImageOptions
from striate.calls.replies import read_layer, read_model_ref, read_predictions, read_view
from striate.errors import StriateError, from_status
from striate.images import Image, as_list, write_image
from striate.results.activations import Activations
from striate.tensors import array_from_tensor
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages

Reduce = Literal["none", "mean", "max"]
DType = Literal["float32", "float16"]

_STATUS = {status.value[0]: status for status in grpc.StatusCode}
"""By number."""


@dataclass(frozen=True, kw_only=True)
class ActivationsCall(ImageOptions):
    """What do these layers compute for these images?"""

    images: Image | Sequence[Image] = field(repr=False)
    """One or several."""
    layers: str | Sequence[str]
    """Paths or aliases, one or several."""
    reduce: Reduce = "none"
    """Reduce each channel to its "mean" or "max" over positions."""
    channels: Sequence[int] | None = None
    """Only these channels, in this order, of every layer."""
    positions: Sequence[tuple[int, int]] | None = None
    """Only these (row, column), in this order, of every layer; tensors are then [N, C, P]."""
    prefix_tokens: Sequence[str | int] = ()
    """These tokens before the first position too, by name ("cls") or index, after `positions`."""
    dtype: DType = "float32"
    """Of the tensors; "float16" halves the reply."""
    classes: int | None = None
    """How many classes to predict, 5 by default. 0: none, and the network runs no further than the deepest layer."""

    def request(self) -> messages.ActivationsRequest:
        request = messages.ActivationsRequest(
            model=self.model,
            layers=layer_names(self.layers),
            fit=fit_value(self.fit),
            reduction=enum_value(messages.Reduction, "REDUCTION", self.reduce, "reduce"),
            channels=self.channels or (),
            positions=position_messages(self.positions),
            prefix_tokens=map(str, self.prefix_tokens),
            dtype=enum_value(pb.DataType, "DATA_TYPE", self.dtype, "dtype"),
            classes=self.classes,
        )
        for image in as_list(self.images):
            write_image(request.images.add(), image)
        return request

    def result(self, response: messages.ActivationsResponse) -> Activations:
        names = layer_names(self.layers)
        return Activations(
            tensors={name: array_from_tensor(layer.tensor) for name, layer in zip(names, response.layers, strict=True)},
            predictions=[read_predictions(each) for each in response.predictions],
            views=[read_view(view, image) for image, view in zip(as_list(self.images), response.views, strict=True)],
            layers=tuple(read_layer(each.layer) for each in response.layers),
            model=read_model_ref(response.model),
        )

    def stream_request(self, key: str) -> messages.StreamActivationsRequest:
        """Return the request as one of a stream, known by `key`."""
        request = messages.StreamActivationsRequest(id=key)
        request.request.CopyFrom(self.request())  # not through the constructor: see `images.write_image`
        return request

    def stream_result(self, response: messages.StreamActivationsResponse, target: str) -> Activations | StriateError:
        """Return what one request of a stream brought.

        Args:
            target: the server's address, for errors.
        """
        if response.WhichOneof("result") == "response":
            return self.result(response.response)
        error = response.error
        return from_status(_STATUS[error.code], error.message, error.details, target)
