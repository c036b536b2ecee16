"""torchvision's detectors as torchvision computes them, in plain Python where its compiled extension is missing: the
reference for what the service makes of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from striate_service.models.torchvision_compat import import_torchvision
from torch import Tensor


def make(name: str, classes: int) -> Any:
    """Return a detector of random weights whose scores differ."""
    detector = import_torchvision().models.get_model(name, weights=None, weights_backbone=None, num_classes=classes)
    generator = torch.Generator().manual_seed(0)
    for path, parameter in detector.named_parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(std=(2 / parameter[0].numel()) ** 0.5, generator=generator)
        if "bbox" in path or "regression" in path:
            parameter.data.mul_(1e-3 if "roi" in path or "rpn" in path else 0.1)
        elif path.startswith("head"):
            parameter.data.mul_(0.1)
        elif path.startswith("rpn.head.cls"):
            parameter.data.mul_(1e-3)  # or many probabilities are 1, and what is best is chance
    return detector.eval().requires_grad_(False)


@dataclass(frozen=True)
class Found:
    """Every box, of one image or of several in turn."""

    logits: Tensor
    """[A, K]"""
    scores: Tensor
    """[A, K]"""
    corners: Tensor
    """[A, K, 4], in pixels."""

    def ranked(self, index: int, overlap: float) -> list[int]:
        """Return the boxes of a class, best first, without those that overlap a better one."""
        kept: list[int] = []
        order = self.scores[:, index].argsort(descending=True, stable=True).tolist()[:400]
        for number in order:
            if all(_overlap(self.corners[number, index], self.corners[each, index]) <= overlap for each in kept):
                kept.append(number)
        return kept


def find(detector: Any, inputs: Tensor) -> Found:
    """Run a detector's modules on normalized images [N, 3, H, W]; one stage's boxes are those of the first."""
    from torchvision.models.detection.image_list import ImageList
    from torchvision.ops import clip_boxes_to_image

    images = ImageList(inputs, [tuple(inputs.shape[2:])] * len(inputs))
    features = detector.backbone(inputs)
    if hasattr(detector, "rpn"):
        with in_plain_python():
            proposals, _ = detector.rpn(images, features)
            pooled = detector.roi_heads.box_roi_pool(features, proposals, images.image_sizes)
        logits, moves = detector.roi_heads.box_predictor(detector.roi_heads.box_head(pooled))
        corners = detector.roi_heads.box_coder.decode(moves, proposals)
    else:
        outputs = detector.head(list(features.values()))
        (anchors,) = detector.anchor_generator(images, list(features.values()))
        logits = outputs["cls_logits"][0]
        corners = detector.box_coder.decode_single(outputs["bbox_regression"][0], anchors)
        corners = corners[:, None].expand(-1, logits.shape[1], -1)
    return Found(logits, logits.detach().softmax(1), clip_boxes_to_image(corners.detach(), images.image_sizes[0]))


@contextmanager
def in_plain_python() -> Iterator[None]:
    """Give torchvision operators that need no extension: suppression box by box, its own alignment uncompiled."""
    align = importlib.import_module("torchvision.ops.roi_align")._roi_align.__wrapped__
    convert = importlib.import_module("torchvision.ops._utils").convert_boxes_to_roi_format

    def nms(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
        kept: list[int] = []
        for number in scores.argsort(descending=True, stable=True).tolist():
            if all(_overlap(boxes[number], boxes[each]) <= overlap for each in kept):
                kept.append(number)
        return torch.tensor(kept, dtype=torch.int64)

    def roi_align(maps: Tensor, boxes: Any, output_size: Any, spatial_scale: float, sampling_ratio: int) -> Tensor:
        rois = convert(boxes) if isinstance(boxes, list) else boxes
        found: Tensor = align(maps, rois, spatial_scale, *output_size, sampling_ratio, False)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("torchvision.ops.boxes"), "nms", nms)
        patch.setattr(importlib.import_module("torchvision.ops.poolers"), "roi_align", roi_align)
        yield


def _overlap(one: Tensor, other: Tensor) -> float:
    (left, top, right, bottom), (x, y, x2, y2) = one.tolist(), other.tolist()
    common = max(0.0, min(right, x2) - max(left, x)) * max(0.0, min(bottom, y2) - max(top, y))
    union = (right - left) * (bottom - top) + (x2 - x) * (y2 - y) - common
    return common / union if union else 0.0
