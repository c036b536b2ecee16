"""The architecture of the embedded model: GoogLeNet's, narrow (Szegedy et al. 2015, with batch normalization)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from striate_service.models.parts.classes import CLASSES


class Convolution(nn.Sequential):
    """Convolution, batch normalization, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )


class Inception(nn.Module):
    """Four branches side by side: 1x1, 3x3, two 3x3 (for 5x5), and pooling; their channels are concatenated."""

    def __init__(self, inputs: int, one: int, three: tuple[int, int], five: tuple[int, int], pooled: int) -> None:
        super().__init__()
        self.branch1 = Convolution(inputs, one, 1)
        self.branch2 = nn.Sequential(Convolution(inputs, three[0], 1), Convolution(three[0], three[1], 3))
        self.branch3 = nn.Sequential(
            Convolution(inputs, five[0], 1), Convolution(five[0], five[1], 3), Convolution(five[1], five[1], 3)
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), Convolution(inputs, pooled, 1))
        self.channels = one + three[1] + five[1] + pooled

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class Parts(nn.Module):
    """[N, 3, 128, 128], normalized, to logits [N, classes]. The mixed4 layers have 16 x 16 positions."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = Convolution(3, 32, 5, stride=2)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = Convolution(32, 64, 3)
        self.mixed3a = Inception(64, 24, (24, 40), (8, 16), 16)
        self.mixed3b = Inception(self.mixed3a.channels, 32, (32, 64), (12, 24), 24)
        self.pool3 = nn.MaxPool2d(2)
        self.mixed4a = Inception(self.mixed3b.channels, 48, (40, 80), (16, 32), 32)
        self.mixed4b = Inception(self.mixed4a.channels, 48, (48, 96), (16, 32), 32)
        self.mixed4c = Inception(self.mixed4b.channels, 48, (48, 96), (16, 32), 32)
        self.pool4 = nn.MaxPool2d(2)
        self.mixed5a = Inception(self.mixed4c.channels, 64, (64, 128), (24, 48), 48)
        self.mixed5b = Inception(self.mixed5a.channels, 64, (64, 128), (24, 48), 48)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(self.mixed5b.channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.children():
            x = module(x)
        return x


def parts(classes: int = len(CLASSES)) -> Parts:
    """Build the network, without its weights."""
    return Parts(classes)
