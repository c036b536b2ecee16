"""What is kept of each image that a monitor sees: numbers of a layer, and of the groups of a basis.

Notation: N images, C channels, H x W positions, K groups.
"""

from __future__ import annotations

import torch
from torch import Tensor

from striate_service.techniques.factorization import project
from striate_service.techniques.methods import Method


def layer_numbers(layer: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return each channel's peak and mean [N, C], and the share of activations that are not positive [N].

    Args:
        layer: [N, C, H, W].
    """
    values = layer.flatten(2).float()
    return values.amax(2), values.mean(2), (values <= 0).float().mean((1, 2))


def group_use(layer: Tensor, directions: Tensor, *, method: Method, rectify: bool) -> tuple[Tensor, Tensor]:
    """Return how strongly each group is present [N, K], and the share of each image that no group explains [N].

    Args:
        layer: [N, C, H, W].
        directions: [K, C], of unit length.
        method, rectify: as `factorization.project` takes them.

    Returns:
        The mean over positions of each group's strength, and ||X - W H||^2 / ||X||^2, 0 for an image of zeros.
    """
    x = layer.flatten(2).mT.float()  # [N, HW, C]
    found = project(x.reshape(-1, x.shape[-1]), directions, method=method, rectify=rectify)
    weights = found.weights.view(len(x), -1, len(directions)).to(x.device)
    residual = (x - weights @ directions.to(x.device)).square().sum((1, 2))
    return weights.mean(1), torch.nan_to_num(residual / x.square().sum((1, 2)))
