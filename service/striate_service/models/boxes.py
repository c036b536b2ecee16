"""What detectors do with boxes, in torch itself: torchvision's own needs its compiled extension, which may not load.

Boxes are [..., 4]: left, top, right, bottom.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def suppressed(boxes: Tensor, overlap: float) -> Tensor:
    """Return the numbers of the boxes that no better one overlaps: non-maximum suppression.

    Args:
        boxes: [A, 4], the best first.
        overlap: the intersection over union with a better box above which a box is dropped.
    """
    overlaps = intersection_over_union(boxes[:, None], boxes[None]).triu(1) > overlap
    dropped = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    for number in range(len(boxes)):
        dropped |= overlaps[number] & ~dropped[number]
    return torch.nonzero(~dropped)[:, 0]


def intersection_over_union(one: Tensor, other: Tensor) -> Tensor:
    common = _area(torch.cat([torch.maximum(one, other)[..., :2], torch.minimum(one, other)[..., 2:]], dim=-1))
    return common / (_area(one) + _area(other) - common).clamp(min=torch.finfo(common.dtype).tiny)


def generalized_intersection_over_union(one: Tensor, other: Tensor) -> Tensor:
    """Return what also ranks boxes that do not overlap (Rezatofighi et al. 2019): -1 to 1."""
    around = _area(torch.cat([torch.minimum(one, other)[..., :2], torch.maximum(one, other)[..., 2:]], dim=-1))
    overlap = intersection_over_union(one, other)
    union = (_area(one) + _area(other)) / (1 + overlap)
    return overlap - 1 + union / around.clamp(min=torch.finfo(around.dtype).tiny)


def roi_align(maps: Tensor, boxes: Tensor, size: int, samples: int) -> Tensor:
    """Return what lies in boxes of a map, each resampled to a square (He et al., Mask R-CNN, 2017).

    Each cell is the mean of `samples` x `samples` points, between which and the map's values is interpolated linearly.

    Args:
        maps: [C, H, W].
        boxes: [R, 4], in the map's own coordinates, within it.

    Returns:
        [R, C, size, size].
    """
    height, width = maps.shape[1:]
    points = (torch.arange(size * samples, device=boxes.device, dtype=boxes.dtype) + 0.5) / (size * samples)
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)  # of less than a position, as torchvision has it
    x, y = (boxes[:, None, :2] + points[None, :, None] * sides[:, None]).unbind(2)
    x, y = (2 * at.clamp(0, most - 1) / max(most - 1, 1) - 1 for at, most in ((x, width), (y, height)))
    count = len(points)
    grid = torch.stack([x[:, None].expand(-1, count, -1), y[:, :, None].expand(-1, -1, count)], dim=3)
    sampled = functional.grid_sample(maps[None], grid.flatten(0, 1)[None], align_corners=True)[0]
    return functional.avg_pool2d(sampled.view(-1, len(boxes), count, count).transpose(0, 1), samples)


def _area(boxes: Tensor) -> Tensor:
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]
