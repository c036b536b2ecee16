"""Small networks of unusual inputs and outputs, whose workers import this module."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Varied(nn.Module):
    """A network of some channels that answers with logits, or with features where there are no classes."""

    def __init__(self, channels: int = 3, classes: int = 5, activation: str = "relu") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(channels, 8, 5, stride=2, padding=2)
        self.fc = nn.Linear(8, classes) if classes else nn.Identity()
        self.num_classes = classes
        self.activation = getattr(torch, activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.activation(self.conv(x)).mean((2, 3)))


class Broken(nn.Module):
    """A network whose code fails when it is built."""

    def __init__(self) -> None:
        super().__init__()
        raise KeyError("a" * 1000)
