"""The architecture of `parts`: GoogLeNet (Szegedy et al. 2015) at half the input size, with a third of the channels.

Modules have the names of the original GoogLeNet's blocks (mixed3a ... mixed5b), and their maps have its resolutions:
28 x 28 for mixed3, 14 x 14 for mixed4, 7 x 7 for mixed5. That makes it easy to compare the two networks.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from striate_service.models.embedded.classes import CLASSES


def convolution(channels_in: int, channels: int, size: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution that pads its input to keep the resolution, batch normalization (Ioffe 2015) and a ReLU."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(channels_in, channels, size, stride, padding=size // 2, bias=False),
            bn=nn.BatchNorm2d(channels),
            relu=nn.ReLU(),  # not in place: a layer's output must stay as it was captured
        )
    )


class Inception(nn.Module):
    """Four branches whose outputs are concatenated: 1 x 1, 3 x 3 and 5 x 5 convolutions, and max pooling.

    Args:
        channels_in: of the input.
        one, three, five, pool: output channels of the four branches.
        three_reduced, five_reduced: channels of the 1 x 1 convolutions before the larger kernels.
    """

    def __init__(
        self, channels_in: int, *, one: int, three_reduced: int, three: int, five_reduced: int, five: int, pool: int
    ) -> None:
        super().__init__()
        self.one = convolution(channels_in, one, 1)
        self.three = nn.Sequential(convolution(channels_in, three_reduced, 1), convolution(three_reduced, three, 3))
        self.five = nn.Sequential(convolution(channels_in, five_reduced, 1), convolution(five_reduced, five, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), convolution(channels_in, pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class Parts(nn.Module):
    """Pictures [N, 3, 112, 112], normalized by `MEAN` and `STD`, to logits [N, classes]. Other sizes work too."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = convolution(3, 24, 5, stride=2)  # 56 x 56
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1)  # 28 x 28
        self.conv2 = convolution(24, 24, 1)
        self.conv3 = convolution(24, 56, 3)
        self.mixed3a = Inception(56, one=24, three_reduced=24, three=32, five_reduced=8, five=12, pool=12)  # 80
        self.mixed3b = Inception(80, one=32, three_reduced=28, three=44, five_reduced=8, five=16, pool=20)  # 112
        self.pool3 = nn.MaxPool2d(3, stride=2, padding=1)  # 14 x 14
        self.mixed4a = Inception(112, one=48, three_reduced=36, three=64, five_reduced=12, five=24, pool=24)  # 160
        self.mixed4b = Inception(160, one=48, three_reduced=40, three=64, five_reduced=12, five=24, pool=24)
        self.mixed4c = Inception(160, one=48, three_reduced=40, three=64, five_reduced=12, five=24, pool=24)
        self.mixed4d = Inception(160, one=48, three_reduced=40, three=64, five_reduced=12, five=24, pool=24)
        self.pool4 = nn.MaxPool2d(3, stride=2, padding=1)  # 7 x 7
        self.mixed5a = Inception(160, one=72, three_reduced=56, three=88, five_reduced=12, five=24, pool=24)  # 208
        self.mixed5b = Inception(208, one=72, three_reduced=56, three=88, five_reduced=12, five=24, pool=24)  # 208
        self.average = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(208, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3(self.conv2(self.pool1(self.conv1(x))))
        x = self.mixed3b(self.mixed3a(x))
        x = self.mixed4d(self.mixed4c(self.mixed4b(self.mixed4a(self.pool3(x)))))
        x = self.mixed5b(self.mixed5a(self.pool4(x)))
        logits: Tensor = self.fc(self.average(x).flatten(1))
        return logits


def parts(num_classes: int = len(CLASSES)) -> nn.Module:
    """Return the architecture, with random weights."""
    return Parts(num_classes)
