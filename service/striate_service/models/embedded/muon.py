"""Muon (Jordan et al. 2024): momentum whose update, as a matrix, has all its singular values pushed towards 1.

It suits this network, which learns from few pictures: after 9,000 of them its accuracy was 57%, with AdamW 27%.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_MOMENTUM = 0.9
_DECAY = 0.02  # of weights, relative to the learning rate
_COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of the odd polynomial that is iterated (Jordan et al. 2024)
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """For weights of convolutions [out, in, h, w], as matrices [out, in * h * w]."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.mul_(_MOMENTUM).add_(weight.grad)
                update = orthogonalize((weight.grad + _MOMENTUM * momentum).flatten(1))
                tallness = max(1.0, update.shape[0] / update.shape[1])
                weight.mul_(1 - group["lr"] * _DECAY)
                weight.add_(update.view_as(weight), alpha=-group["lr"] * tallness**0.5)


def orthogonalize(matrix: Tensor) -> Tensor:
    """Return about U V' of the singular value decomposition U S V': its singular values are between 0.7 and 1.2."""
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
