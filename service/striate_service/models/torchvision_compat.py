"""Import torchvision, even where its C++ extension does not load.

A torchvision wheel built for another torch (a CUDA build beside a CPU torch, say) fails at import with "operator
torchvision::nms does not exist": its Python side registers fake kernels for operators that only the extension defines.
Classification networks need none of these operators, so declaring their schemas is enough.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None  # the schemas last as long as this object


def import_torchvision() -> ModuleType:
    """Return `torchvision`; if its C++ extension does not load, declare the operators that it would have declared."""
    global _library
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error) or _library is not None:
            raise
    _library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        _library.define(schema)  # type: ignore[no-untyped-call]
    return importlib.import_module("torchvision")
