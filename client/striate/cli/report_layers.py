"""Which layers a report is about, where nobody says: those worth looking at, by what the server tells of a network.

A network is read by its blocks, the modules of which it is built again and again: inception and residual blocks,
stages, a transformer's layers. Their last outputs are where neurons stand for objects, and, before the map was halved
for the last time, for parts of objects. Stems, heads and single convolutions are no such blocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from striate import Layer, Model, NotFound

_CONTAINERS = {"Sequential", "ModuleList", "ModuleDict"}
"""Modules that only hold others."""
_NO_LOOK = ("Norm", "Pool", "Dropout", "DropPath", "Identity", "Permute", "Flatten", "Embed")
"""In the class of a module: it scales, thins out, passes on or rearranges what a layer before it has computed. That is
true of a head's Conv2dNormActivation as well, whose channels stand for whole classes more than for what is seen."""


def report_layers(model: Model) -> list[str]:
    """Return one or two layers, in the order in which they compute: the last block with a map, and the last one of a
    larger map, or, in networks whose maps are all of one size, the one halfway.

    Never one whose channels are the model's classes, nor one of a single position. Where a class token alone is read
    by what follows the last block, positions have no effect there, and it is the block before.

    Raises:
        NotFound: no layer of the model is a map.
    """
    maps = [
        layer
        for layer in model.layers
        if min(layer.grid) > 1
        and layer.channels != len(model.classes)
        and layer.type not in _CONTAINERS
        and not any(name in layer.type for name in _NO_LOOK)
    ]
    blocks = _blocks(maps) or maps or [layer for layer in model.layers if min(layer.grid) > 1]
    if not blocks:
        raise NotFound(f"{model.name} has no layer that holds a map to report on", "layer", "")
    if len(blocks) > 1 and "cls" in blocks[-1].prefix_tokens:
        blocks = blocks[:-1]
    last = blocks[-1]
    larger = [layer for layer in blocks if layer.grid > last.grid]
    earlier = larger[-1] if larger else blocks[len(blocks) // 2]
    return list(dict.fromkeys([earlier.name, last.name]))


def _parents(name: str) -> list[str]:
    """Return the modules around one: all, since what a block directly holds may be a container, which is no map."""
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def _blocks(maps: Sequence[Layer]) -> list[Layer]:
    """Return the outermost modules that hold others and of whose class there are several."""
    holders = {parent for layer in maps for parent in _parents(layer.name)}
    built = [layer for layer in maps if layer.name in holders]
    times = Counter(layer.type for layer in built)
    repeated = [layer for layer in built if times[layer.type] > 1]
    names = {layer.name for layer in repeated}
    return [layer for layer in repeated if not any(layer.name.startswith(f"{name}.") for name in names)]
