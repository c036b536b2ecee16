"""A small network that the tests export and compile."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Branching(nn.Module):
    """In-place ReLUs, a branch, and a classifier: what torchvision's networks are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.left, self.right = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        joined = self.relu(torch.cat([self.left(maps), self.right(maps)], 1))
        return self.fc(joined.mean((2, 3)))
