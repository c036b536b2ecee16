"""Small networks of the usual layouts, by torchvision's own classes, with random weights: tests serve them."""

from __future__ import annotations

import torch
from striate_service.models.torchvision_compat import import_torchvision
from torch import Tensor, nn

SIZE = 32


def vit() -> nn.Module:
    """[1 + 4 * 4, 32] tokens in two blocks."""
    models = import_torchvision().models
    return _alive(
        models.VisionTransformer(
            image_size=SIZE, patch_size=8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=5
        )
    )


def registers() -> nn.Module:
    """[1 + 2 + 4 * 4, 32] tokens in two blocks: a class token and two registers come first."""
    import_torchvision()
    from timm.models import VisionTransformer

    return _alive(
        VisionTransformer(
            img_size=SIZE, patch_size=8, depth=2, num_heads=2, embed_dim=32, mlp_ratio=2, num_classes=5, reg_tokens=2
        )
    )


def swin() -> nn.Module:
    """[8, 8, 16] and, after a merge, [4, 4, 32], in shifted windows of 4 x 4."""
    models = import_torchvision().models
    return _alive(
        models.SwinTransformer(
            patch_size=[4, 4], embed_dim=16, depths=[2, 1], num_heads=[2, 2], window_size=[4, 4], num_classes=5
        )
    )


def convnext() -> nn.Module:
    """Blocks that are [8, 8, 16] inside and [16, 8, 8] outside."""
    from torchvision.models.convnext import CNBlockConfig

    return _alive(
        import_torchvision().models.ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)], num_classes=5)
    )


class Equal(nn.Module):
    """Maps of [14, 14, 14], channels first, then channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 14, 3, stride=2, padding=1)
        self.last = nn.Linear(14, 14)
        self.fc = nn.Linear(14, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.last(self.first(images).relu().movedim(1, -1))
        return self.fc(maps.relu().mean((1, 2)))


class BatchStatistics(nn.Module):
    """A batch normalization that keeps no running statistics, and so uses those of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)
        self.fc = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(images)).relu().mean((2, 3)))


class Attention(nn.Module):
    """Attention whose weights and queries by heads are outputs of modules, beside a table that knows no image."""

    def __init__(self, width: int = 16, heads: int = 2, tokens: int = 16) -> None:
        super().__init__()
        self.heads = heads
        self.patches = nn.Conv2d(3, width, 8, stride=8)
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm, self.k_norm = nn.LayerNorm(width // heads), nn.LayerNorm(width // heads)
        self.weights, self.windows = nn.Softmax(-1), nn.Identity()
        self.table, self.project = nn.Embedding(tokens, width), nn.Linear(width, width)
        self.head = nn.Linear(width, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).mT
        x = x + self.table(torch.arange(x.shape[1]).expand(len(x), -1))
        x = self.windows(x.reshape(-1, 4, x.shape[2])).reshape(x.shape)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(q), self.k_norm(k)
        mixed = (self.weights(q @ k.mT) @ v).transpose(1, 2).flatten(2)
        return self.head((x + self.project(mixed)).mean(1))


def _alive(network: nn.Module) -> nn.Module:
    """Undo what makes a new network answer the same for every image: heads and scales of 0."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in network.named_parameters():
        if name.endswith("layer_scale"):
            parameter.data.fill_(0.5)
        elif parameter.dim() > 1 and not parameter.any():
            parameter.data.normal_(std=0.2, generator=generator)
    return network
