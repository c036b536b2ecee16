"""A network so slow that its icons can be interrupted."""

from __future__ import annotations

import time

import torch
from fragile import Fragile
from torch import Tensor, nn

SECONDS = 0.05  # that a forward takes


class Slow(Fragile):
    def forward(self, x: Tensor) -> Tensor:
        time.sleep(SECONDS)
        return super().forward(x)


def factory() -> nn.Module:
    torch.manual_seed(0)
    return Slow()
