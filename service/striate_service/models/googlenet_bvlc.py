"""The original GoogLeNet (Szegedy et al. 2015), as BVLC trained it in Caffe: the Distill article's kind of network.

Unlike torchvision's GoogLeNet it has no batch normalization, true 5 x 5 convolutions, and local response normalization
after the stem's convolutions. Modules and weights have Caffe's names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from striate_service.models.response_norm import LocalResponseNorm


class Convolution(nn.Conv2d):
    """A convolution with its ReLU, as one layer: Caffe's and the article's activations are those after the ReLU."""

    def __init__(self, channels_in: int, channels: int, size: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels, size, stride, padding=size // 2)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(super().forward(x))


class Inception(nn.Module):
    """Four branches whose outputs are concatenated. The numbers are the columns of the paper's table 1."""

    def __init__(
        self, channels_in: int, one: int, three_reduced: int, three: int, five_reduced: int, five: int, pool: int
    ) -> None:
        super().__init__()
        self.conv1x1 = Convolution(channels_in, one, 1)
        self.conv3x3_reduce = Convolution(channels_in, three_reduced, 1)
        self.conv3x3 = Convolution(three_reduced, three, 3)
        self.conv5x5_reduce = Convolution(channels_in, five_reduced, 1)
        self.conv5x5 = Convolution(five_reduced, five, 5)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.pool_proj = Convolution(channels_in, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = (
            self.conv1x1(x),
            self.conv3x3(self.conv3x3_reduce(x)),
            self.conv5x5(self.conv5x5_reduce(x)),
            self.pool_proj(self.pool(x)),
        )
        return torch.cat(branches, 1)


class GoogLeNet(nn.Module):
    """Pictures [N, 3, 224, 224], with torchvision's ImageNet normalization, to logits [N, classes]."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = Convolution(3, 64, 7, stride=2)  # 112 x 112
        self.pool1 = _halved()  # 56 x 56
        self.norm1 = _normalization()
        self.conv2_reduce = Convolution(64, 64, 1)
        self.conv2 = Convolution(64, 192, 3)
        self.norm2 = _normalization()
        self.pool2 = _halved()  # 28 x 28
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)  # 256
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)  # 480
        self.pool3 = _halved()  # 14 x 14
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)  # 512
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)  # 528
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)  # 832
        self.pool4 = _halved()  # 7 x 7
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)  # 1024
        self.average = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.pool1(self.conv1(x)))
        x = self.pool2(self.norm2(self.conv2(self.conv2_reduce(x))))
        x = self.pool3(self.inception3b(self.inception3a(x)))
        x = self.inception4c(self.inception4b(self.inception4a(x)))
        x = self.pool4(self.inception4e(self.inception4d(x)))
        x = self.inception5b(self.inception5a(x))
        logits: Tensor = self.fc(self.average(x).flatten(1))
        return logits


def _halved() -> nn.Module:
    """Return a pooling that, as Caffe's, rounds sizes up."""
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _normalization() -> nn.Module:
    return LocalResponseNorm(5, alpha=1e-4, k=1.0)
