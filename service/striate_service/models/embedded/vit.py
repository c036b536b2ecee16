"""The architecture of `parts_vit`: a small vision transformer (Dosovitskiy et al. 2021) for the pictures of `parts`.

Its 14 x 14 tokens stand for patches of 8 x 8 pixels, the positions of the mixed4 layers of `parts`. It is a hybrid, as
the paper calls it: convolutions, those of `parts` up to mixed3b, see to the pixels, as transformers learn from far
fewer pictures that way (Xiao et al. 2021). There is no class token: logits read the mean of all tokens, so that a logit
is the mean of what each position says, and maps of it leave nothing out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from striate_service.models.embedded.classes import CLASSES
from striate_service.models.embedded.network import Inception, convolution

GRID = 14
WIDTH, DEPTH, HEADS = 128, 4, 4


class Attention(nn.Module):
    """Tokens [N, T, C] to what each of them gathers from all, [N, T, C]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (
            linear(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        gathered = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(gathered.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention between tokens, then a perceptron within each; both add to what was there: [N, T, C] to [N, T, C]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        first, last = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.mlp = nn.Sequential(first, nn.GELU(), last)
        for added in (self.attention.out, last):
            nn.init.zeros_(added.weight)  # a block starts as the identity

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.norm1(tokens))
        added: Tensor = self.mlp(self.norm2(tokens))
        return tokens + added


class PartsViT(nn.Module):
    """Pictures [N, 3, 112, 112], normalized by `MEAN` and `STD`, to logits [N, classes]. Other sizes work too."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = convolution(3, 24, 5, stride=2)  # 56 x 56
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1)  # 28 x 28
        self.conv2 = convolution(24, 24, 1)
        self.conv3 = convolution(24, 56, 3)
        self.mixed3a = Inception(56, one=24, three_reduced=24, three=32, five_reduced=8, five=12, pool=12)  # 80
        self.mixed3b = Inception(80, one=32, three_reduced=28, three=44, five_reduced=8, five=16, pool=20)  # 112
        self.patches = nn.Conv2d(112, WIDTH, 2, stride=2)  # 14 x 14
        self.positions = nn.Parameter(_waves(GRID, WIDTH))
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.mixed3b(self.mixed3a(self.conv3(self.conv2(self.pool1(self.conv1(x))))))
        maps = self.patches(maps)
        positions: Tensor = self.positions
        if maps.shape[2:] != positions.shape[2:]:
            positions = functional.interpolate(positions, maps.shape[2:], mode="bicubic", align_corners=False)
        tokens = (maps + positions).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        logits: Tensor = self.head(self.norm(tokens).mean(1))
        return logits


def _waves(grid: int, channels: int) -> Tensor:
    """Return the positions' sines and cosines of several wavelengths: [1, channels, grid, grid] (Chen et al. 2021)."""
    count = channels // 4
    angles = torch.arange(grid)[:, None] / 100 ** (torch.arange(count) / count)
    waves = torch.cat([angles.sin(), angles.cos()], 1).T  # [channels / 2, grid]
    rows, columns = waves[:, :, None].expand(-1, grid, grid), waves[:, None, :].expand(-1, grid, grid)
    return torch.cat([rows, columns])[None] * 0.5


def parts_vit(num_classes: int = len(CLASSES)) -> nn.Module:
    """Return the architecture, with random weights."""
    return PartsViT(num_classes)
