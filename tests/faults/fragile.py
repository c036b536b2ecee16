"""A network that does what a test's image tells it to: die, break its device, take all memory, sleep, or answer."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import torch
from torch import Tensor, nn

SIDE = 16
DEADLY, BREAKING, GREEDY, SLOW = 1e6, 8e5, 6e5, 1e5
MANY = 20_000  # classes
SECONDS = 1.5  # that a slow image takes


class Fragile(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.fc = nn.Linear(4, classes)
        self.broken = False

    def forward(self, x: Tensor) -> Tensor:
        if x.amax() >= DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        self.broken |= bool(DEADLY > x.amax() >= BREAKING)
        if self.broken and x.is_cuda:
            x.flatten()[torch.full((1,), x.numel(), device=x.device)]  # an assert on the device
        elif self.broken:  # as CUDA answers everything once a kernel has failed
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if BREAKING > x.amax() >= GREEDY:
            torch.empty(2**60)
        if GREEDY > x.amax() >= SLOW:
            time.sleep(SECONDS)
        logits: Tensor = self.fc(self.layer(x).mean((2, 3)))
        return logits


def factory(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return Fragile(classes)


def many_classes() -> nn.Module:
    return factory(MANY)


def image(marker: float = 0.0) -> np.ndarray:
    """A preprocessed image that carries a marker."""
    array = np.random.default_rng(0).random((3, SIDE, SIDE), np.float32)
    array[0, 0, 0] = marker or array[0, 0, 0]
    return array
