"""Read targets from what a network answers, so that they can be differentiated.

A target's gradient is that of one number an image, and images do not mix. So what is chosen without gradients, such as
which box is meant, is chosen for each image by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from striate_service.models.boxes import generalized_intersection_over_union, suppressed
from striate_service.models.outputs import Answer, Boxes
from striate_service.techniques.outcomes import Refused
from striate_service.techniques.targets import Area, Box, Embedding, Output, Region, Target

_CANDIDATES = 400  # boxes of a class, best first, that are looked at: as many as torchvision's SSD takes


def target_values(answer: Answer, rows: slice, targets: Sequence[Target]) -> Tensor:
    """Return targets of some of the images, float32 [N, M], with the graph of the answer.

    Args:
        rows: the images' rows in the answer.

    Raises:
        Refused: an image has no such box.
        ValueError: the network gives no such target.
    """
    if answer.vector is not None and all(isinstance(target, Output) for target in targets):
        vector = answer.vector[rows]
        chosen = torch.tensor([target.index for target in targets if isinstance(target, Output)], dtype=torch.int64)
        return vector[:, chosen.to(vector.device)].float()
    return torch.stack([_value(answer, rows, target) for target in targets], dim=1).float()


def _value(answer: Answer, rows: slice, target: Target) -> Tensor:
    match target:
        case Output(index) if answer.vector is not None:
            return answer.vector[rows, index]
        case Embedding(vector) if answer.vector is not None:
            own = answer.vector[rows].float()
            return torch.cosine_similarity(own, torch.tensor(vector).to(own)[None], dim=1)
        case Region(index, area) if answer.maps is not None:
            return area_mean(answer.maps[rows, index].float(), area)
        case Box(index, which) if answer.boxes is not None:
            logits = answer.boxes.logits[rows, :, index]
            boxes = range(*rows.indices(len(answer.boxes.logits)))
            chosen = [chosen_box(answer.boxes, image, index, which) for image in boxes]
            return logits.gather(1, torch.tensor(chosen, device=logits.device)[:, None])[:, 0]
    raise ValueError(f"the network gives no such target: {target}")


def area_mean(maps: Tensor, area: Area) -> Tensor:
    """Return the mean of maps [N, H, W] over an area, [N]: positions on its edge count by their share in it."""
    height, width = maps.shape[1:]
    rows, columns = _shares(area.top, area.bottom, height), _shares(area.left, area.right, width)
    weights = torch.outer(rows, columns).to(maps)
    return (maps * weights).sum((1, 2)) / weights.sum()


def _shares(start: float, end: float, count: int) -> Tensor:
    """Return how much of each of `count` equal parts of 0 to 1 lies between two points, in parts."""
    edges = torch.arange(count + 1, dtype=torch.float64)
    return (edges[1:].clamp(max=end * count) - edges[:-1].clamp(min=start * count)).clamp(min=0)


@torch.no_grad()
def chosen_box(boxes: Boxes, image: int, index: int, which: int | Area) -> int:
    """Return the number of a class's box in an image: of those that no better one overlaps, the one at a place by
    score, or the one that fits an area best.

    Raises:
        Refused: there are fewer.
    """
    scores = boxes.scores[image, :, index].float()
    best = scores.argsort(descending=True, stable=True)[:_CANDIDATES]
    best = best[scores[best] >= 0]
    corners = boxes.corners[image, :, index if boxes.corners.shape[2] > 1 else 0].float()
    kept = best[suppressed(corners[best], float(boxes.overlap))]
    place = which if isinstance(which, int) else 0
    if place >= len(kept):
        problem = f"asks for the box at place {place} by score, and an image has {len(kept)} of that class"
        raise Refused("targets", problem)
    if isinstance(which, Area):
        asked = corners.new_tensor([which.left, which.top, which.right, which.bottom])
        place = int(generalized_intersection_over_union(corners[kept], asked).argmax())
    return int(kept[place])
