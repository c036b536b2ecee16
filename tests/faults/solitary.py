"""A network that cannot be exported while anything else runs in its process."""

from __future__ import annotations

import threading

import torch
from torch import Tensor, nn


class Solitary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if type(x) is not Tensor and threading.active_count() > 1:  # it is being traced
            raise RuntimeError("something else runs")
        logits: Tensor = self.fc(self.layer(x).mean((2, 3)))
        return logits


def factory() -> nn.Module:
    torch.manual_seed(0)
    return Solitary()
