"""torchvision's detectors as networks like others: a batch of normalized images of one size in, `Boxes` out.

torchvision's own forward takes a list, resizes, and drops boxes by their scores; these keep all boxes and what precedes
the scores, so that they can be differentiated. The modules and their names are torchvision's, so that weights fit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from striate_service.models.boxes import roi_align, suppressed
from striate_service.models.outputs import Boxes


def as_network(detector: Any) -> nn.Module:
    """Return one of torchvision's detectors as a network."""
    return _TwoStages(detector) if hasattr(detector, "roi_heads") else _OneStage(detector)


class _OneStage(nn.Module):
    """SSD, RetinaNet and FCOS: each place of an image has boxes, which the head moves and scores."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.backbone, self.head, self.anchor_generator = detector.backbone, detector.head, detector.anchor_generator
        self._coder, self._overlap = detector.box_coder, detector.nms_thresh
        self._excludes = type(detector).__name__ == "SSD"  # its classes exclude each other, and one is the background

    def forward(self, images: Tensor) -> Boxes:
        features = list(_maps_of(self.backbone(images)).values())
        found = self.head(features)
        logits, moves = found["cls_logits"], found["bbox_regression"]
        scores = logits.softmax(2) if self._excludes else logits.sigmoid()
        if "bbox_ctrness" in found:
            scores = (scores * found["bbox_ctrness"].sigmoid()).sqrt()
        anchors = torch.stack(self.anchor_generator(_listed(images), features))
        decode = getattr(self._coder, "decode_single", self._coder.decode)
        boxes = decode(moves.flatten(0, 1), anchors.flatten(0, 1)).view_as(moves)
        return Boxes(_in_shares(boxes, images)[:, :, None], logits, scores, boxes.new_tensor(self._overlap))


class _TwoStages(nn.Module):
    """Faster R-CNN, and what Mask and Keypoint R-CNN share with it: the first stage proposes boxes, the second looks at
    each. Which boxes are proposed has no gradient, as in training."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.backbone, self.rpn, self.roi_heads = detector.backbone, detector.rpn, detector.roi_heads

    def forward(self, images: Tensor) -> Boxes | dict[str, Tensor]:
        maps = _maps_of(self.backbone(images))
        if torch.compiler.is_exporting():  # no layer follows, and an exporter cannot follow a choice of boxes
            return maps
        proposals, exist = self._proposals(list(maps.values()), images)
        heads = self.roi_heads
        features = heads.box_head(self._pooled(maps, proposals, images).flatten(0, 1))
        logits, moves = heads.box_predictor(features)
        boxes = heads.box_coder.decode(moves, [proposals.flatten(0, 1)])
        scores = logits.softmax(1).unflatten(0, exist.shape)
        return Boxes(
            _in_shares(boxes.unflatten(0, exist.shape), images),
            logits.unflatten(0, exist.shape),
            torch.where(exist[..., None], scores, -1),
            boxes.new_tensor(heads.nms_thresh),
        )

    @torch.no_grad()
    def _proposals(self, maps: list[Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the boxes that the first stage proposes, [N, R, 4] in pixels, and which of them exist, bool [N, R]."""
        rpn = self.rpn
        objectness, moves = rpn.head(maps)
        anchors = rpn.anchor_generator(_listed(images), maps)[0]
        counts = [level[0].numel() for level in objectness]
        scores = torch.cat([level.permute(0, 2, 3, 1).flatten(1) for level in objectness], dim=1)
        moved = [level.permute(0, 2, 3, 1).reshape(len(images), -1, 4) for level in moves]
        repeated = anchors.repeat(len(images), 1)
        boxes = rpn.box_coder.decode_single(torch.cat(moved, dim=1).flatten(0, 1), repeated).view(len(images), -1, 4)
        levels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).to(boxes.device)
        room = min(rpn.post_nms_top_n(), sum(counts))
        proposals, exist = boxes.new_zeros(len(images), room, 4), levels.new_zeros(len(images), room, dtype=torch.bool)
        for image, (own, score) in enumerate(zip(_clipped(boxes, images), scores, strict=True)):
            kept = [self._best(own, score, torch.nonzero(levels == level)[:, 0]) for level in range(len(counts))]
            together = torch.cat(kept)
            best = together[score[together].argsort(descending=True, stable=True)[:room]]
            proposals[image, : len(best)], exist[image, : len(best)] = own[best], True
        return proposals, exist

    def _best(self, boxes: Tensor, scores: Tensor, level: Tensor) -> Tensor:
        """Return which boxes of a level are proposed: of the best those that no better one overlaps."""
        best = level[scores[level].argsort(descending=True, stable=True)[: self.rpn.pre_nms_top_n()]]
        sides = boxes[best, 2:] - boxes[best, :2]
        best = best[(sides >= self.rpn.min_size).all(1) & (scores[best].sigmoid() >= self.rpn.score_thresh)]
        kept: Tensor = best[suppressed(boxes[best], self.rpn.nms_thresh)]
        return kept

    def _pooled(self, maps: dict[str, Tensor], proposals: Tensor, images: Tensor) -> Tensor:
        """Return what the second stage looks at, [N, R, C, size, size], of each box in the level of its size."""
        pool = self.roi_heads.box_roi_pool
        levels = [maps[name] for name in pool.featmap_names if name in maps]
        scales = [2.0 ** round(torch.tensor(each.shape[-2] / images.shape[-2]).log2().item()) for each in levels]
        (size, _), samples = pool.output_size, pool.sampling_ratio
        finest, coarsest = (-torch.tensor(scales).log2()[[0, -1]]).tolist()
        sides = (proposals[..., 2:] - proposals[..., :2]).prod(2).clamp(min=0).sqrt()
        wanted = torch.floor(pool.canonical_level + (sides / pool.canonical_scale).log2() + 1e-6)
        wanted = (wanted.clamp(finest, coarsest) - finest).long()
        pooled = proposals.new_zeros(*proposals.shape[:2], levels[0].shape[1], size, size)
        for number, (level, scale) in enumerate(zip(levels, scales, strict=True)):
            for image in range(len(images)):
                own = torch.nonzero(wanted[image] == number)[:, 0]
                if len(own):
                    found = roi_align(level[image], proposals[image, own] * scale, size, samples)
                    pooled = pooled.index_put((torch.full_like(own, image), own), found.to(pooled))
        return pooled


def _maps_of(features: Any) -> dict[str, Tensor]:
    return {"0": features} if isinstance(features, Tensor) else features


def _listed(images: Tensor) -> Any:
    from torchvision.models.detection.image_list import ImageList

    height, width = images.shape[2:]
    return ImageList(images, [(height, width)] * len(images))


def _clipped(boxes: Tensor, images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))


def _in_shares(boxes: Tensor, images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    return _clipped(boxes, images) / boxes.new_tensor([width, height, width, height])
