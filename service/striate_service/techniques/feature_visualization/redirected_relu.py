"""Gradients for a neuron that an image does not excite at all (Lucid, misc/redirected_relu_grad.py).

A ReLU whose output is 0 everywhere passes no gradient on, so the image would never change: the icon would stay grey.
GELU, SiLU and hard-swish do worse below 0: what raises their output there, from its minimum towards 0, lowers their
input, and ever less, so the image would move away from what excites the neuron.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class RedirectedReLU(TorchFunctionMode):
    """A context in which activation functions that are silent everywhere still pass on what raises their input.

    It applies to every ReLU, ReLU6, GELU, SiLU and hard-swish of any network, as a module or a function, and runs
    in-place ones out of place, since the backward pass needs their input.
    """

    def __init__(self, *, smooth_only: bool = False) -> None:
        """Take whether ReLUs are left as they are."""
        super().__init__()
        self._smooth_only = smooth_only

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in _SMOOTH:
            with torch._C.DisableTorchFunction():
                value = function(args[0], **_without_inplace(kwargs))
            return _RedirectedBelow0.apply(args[0], value)  # type: ignore[no-untyped-call]
        ceiling = None if self._smooth_only else _ceiling(function, kwargs or {})
        if ceiling is not None:
            return _Redirected.apply(args[0], ceiling)  # type: ignore[no-untyped-call]
        return function(*args, **(kwargs or {}))


def _ceiling(function: Any, arguments: dict[str, Any]) -> float | None:
    """Return the largest output of a call to a ReLU; None: the function is none."""
    if function is nn.functional.hardtanh and arguments.get("min_val") == 0:  # as nn.ReLU6 calls it
        return float(arguments["max_val"])
    return _CEILINGS.get(function)


_CEILINGS = {
    torch.relu: math.inf,
    torch.relu_: math.inf,
    torch.Tensor.relu: math.inf,
    torch.Tensor.relu_: math.inf,
    nn.functional.relu: math.inf,
    nn.functional.relu_: math.inf,
    nn.functional.relu6: 6.0,
}
"""Each ReLU function's largest output."""


_SMOOTH = {nn.functional.gelu, nn.functional.silu, nn.functional.hardswish}


def _without_inplace(arguments: dict[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (arguments or {}).items() if name != "inplace"}


class _RedirectedBelow0(torch.autograd.Function):
    """Passes a smooth activation function's gradients on, and beside them, where it is silent, others that raise x.

    It is silent in an image whose objective depends on it at no position where x is above 0.
    """

    @staticmethod
    def forward(context: Any, x: Tensor, value: Tensor) -> Tensor:
        context.save_for_backward(x)
        return value.view_as(value)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        (x,) = context.saved_tensors
        silent = gradient.masked_fill(x <= 0, 0).flatten(1).abs().amax(1) == 0  # [B]
        if not silent.any():
            return None, gradient
        # The loss is minimized, so a negative gradient raises x.
        silent = silent.view(-1, *[1] * (x.dim() - 1))
        return torch.where(silent, gradient.clamp(max=0), 0), torch.where(silent, 0, gradient)


class _Redirected(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, ceiling: float) -> Tensor:
        context.save_for_backward(x)
        context.ceiling = ceiling
        return x.clamp(0, ceiling)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = context.saved_tensors
        below, above = x <= 0, x >= context.ceiling
        usual = gradient.masked_fill(below | above, 0)
        silent = usual.flatten(1).abs().amax(1) == 0  # [B]
        if not silent.any():
            return usual, None
        # The loss is minimized, so a positive gradient lowers x: where x is below 0, that is the wrong direction.
        redirected = gradient.masked_fill((below & (gradient > 0)) | (above & (gradient < 0)), 0)
        return torch.where(silent.view(-1, *[1] * (x.dim() - 1)), redirected, usual), None
