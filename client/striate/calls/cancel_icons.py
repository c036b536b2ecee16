"""CancelIcons: taking back what was left to be rendered."""

from __future__ import annotations

from dataclasses import dataclass

from striate.v1 import interpretability_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class CancelIconsCall:
    """Take back the icons that this caller's calls of `render_icons` with `detach` have left; say how many that were.

    The caller is who the token stands for, else the client's `caller`, else its machine.
    """

    layer: str = ""
    """A path or alias; empty: all layers."""
    model: str = ""
    """The model's name; empty: the server's default model if a layer is named, else all models."""

    def request(self) -> messages.CancelIconsRequest:
        return messages.CancelIconsRequest(model=self.model, layer=self.layer)

    def result(self, response: messages.CancelIconsResponse) -> int:
        return response.cancelled
