"""The one place that turns a layer's output into a map [N, C, H, W] and back, whatever its layout.

Prefix tokens (a transformer's class token) are kept aside: they are no positions of the picture. All functions are
views or copies, so gradients flow through them; the gradient of an output is converted as the output is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from striate_service.models.description import LayerDescription, Layout


def to_map(outputs: Tensor, layer: LayerDescription) -> Tensor:
    """Return a layer's outputs [..., *layer.shape] as maps [..., C, H, W], a view.

    Raises:
        ValueError: the outputs hold no map.
    """
    match layer.layout:
        case Layout.CHW:
            return outputs
        case Layout.HWC:
            return outputs.movedim(-1, -3)
        case Layout.TOKENS:
            tokens = outputs[..., len(layer.prefix_tokens) :, :]
            return tokens.reshape(*tokens.shape[:-2], *layer.grid, layer.channels).movedim(-1, -3)
        case Layout.VECTOR:
            return outputs[..., None, None]
        case Layout.NONE:
            raise ValueError(f"{layer.path} holds no map")


def prefix_of(outputs: Tensor, layer: LayerDescription) -> Tensor:
    """Return the prefix tokens of a layer's outputs [..., *layer.shape]: [..., C, T]. T is 0 where it has none."""
    if layer.layout is not Layout.TOKENS:
        return to_map(outputs, layer).flatten(-2)[..., :0]
    return outputs[..., : len(layer.prefix_tokens), :].movedim(-1, -2)


def replaced(outputs: Tensor, layer: LayerDescription, maps: Tensor, prefix: Tensor | None = None) -> Tensor:
    """Return a layer's outputs with other maps in them.

    Args:
        outputs: [N, *layer.shape], or of one image, whose prefix tokens then go with all maps.
        maps: [N, C, H, W].
        prefix: [N, C, T], other prefix tokens. None: they stay as they were.
    """
    match layer.layout:
        case Layout.CHW:
            return maps
        case Layout.HWC:
            return maps.movedim(-3, -1)
        case Layout.TOKENS:
            if prefix is None:
                tokens = outputs[:, : len(layer.prefix_tokens)].expand(len(maps), -1, -1)
            else:
                tokens = prefix.movedim(-2, -1)
            return torch.cat([tokens, maps.flatten(-2).movedim(-1, -2)], dim=1)
        case Layout.VECTOR:
            return maps.flatten(1)
        case Layout.NONE:
            raise ValueError(f"{layer.path} holds no map")
