"""Gradients for a neuron that an image does not excite at all (Lucid, misc/redirected_relu_grad.py).

A ReLU whose output is 0 everywhere passes no gradient on, so the image would never change: the icon would stay grey.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class RedirectedReLU(TorchFunctionMode):
    """A context in which ReLUs whose output is 0 everywhere still pass on the gradients that would raise that output.

    It applies to every ReLU and ReLU6 of any network, as a module or a function, and runs in-place ones out of place,
    since the backward pass needs their input.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in _CEILINGS:
            return _Redirected.apply(  # type: ignore[no-untyped-call]
                args[0], _CEILINGS[function]
            )
        return function(*args, **(kwargs or {}))


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
