"""Network dissection: which concept each channel detects (Bau, Zhou, Khosla, Oliva and Torralba, CVPR 2017).

A channel c has a threshold T_c, which its activations exceed at 0.5% of all positions of a dataset. Its map A_c,
enlarged to the pictures' size, is active where it exceeds the threshold: M_c = [A_c > T_c]. With the masks L_k of a
concept k, and sums over the whole dataset (not means over pictures),

    IoU(c, k) = sum |M_c and L_k| / sum |M_c or L_k|

The paper calls c a detector of the concept with the largest IoU, if that exceeds 0.04.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

QUANTILE = 0.995
"""The paper's: a channel counts as active at its top 0.5% of positions."""
LEAST_IOU = 0.04
"""The paper's: a channel with a lower IoU detects nothing."""


@dataclass(frozen=True)
class Detector:
    """A channel and the concept that it matches best."""

    channel: int
    concept: str
    iou: float


@dataclass(frozen=True)
class Dissection:
    concepts: tuple[str, ...]
    thresholds: Tensor
    """T: float32 [C]."""
    iou: Tensor
    """float32 [C, concepts], 0 to 1."""

    def best(self) -> list[Detector]:
        """Return for each channel the concept that it matches best, whether or not it matches well."""
        values, indices = self.iou.max(1)
        pairs = zip(values.tolist(), indices.tolist(), strict=True)
        return [Detector(channel, self.concepts[index], iou) for channel, (iou, index) in enumerate(pairs)]

    def detectors(self, least: float = LEAST_IOU) -> list[Detector]:
        """Return the channels that detect something, the best match first."""
        return sorted((d for d in self.best() if d.iou > least), key=lambda d: -d.iou)


def dissect(
    activation_batches: Iterable[Tensor],
    mask_batches: Iterable[Tensor],
    concepts: Sequence[str],
    quantile: float = QUANTILE,
) -> Dissection:
    """Match the channels of a layer with concepts.

    Args:
        activation_batches: the layer's output for the dataset, each [N, C, h, w]. Read twice, so not a generator: once
            for the thresholds, which need all activations, and once with the masks.
        mask_batches: where the concepts show in the same pictures, each bool [N, K, H, W], H and W being any size (the
            pictures' own, usually).
        concepts: the K concepts' names.
        quantile: a channel is active above this quantile of its activations.

    Raises:
        ValueError: the batches do not fit each other, or `activation_batches` is an iterator.
    """
    if isinstance(activation_batches, Iterator):
        raise ValueError("activation_batches are gone through twice, so they cannot be an iterator: give a list")
    limits = thresholds(activation_batches, quantile)
    both = torch.zeros(len(limits), len(concepts), dtype=torch.float64)
    active_total = torch.zeros(len(limits), dtype=torch.float64)
    mask_total = torch.zeros(len(concepts), dtype=torch.float64)
    for activations, masks in zip(activation_batches, mask_batches, strict=True):
        if len(activations) != len(masks) or masks.shape[1] != len(concepts):
            expected = [len(activations), len(concepts), "H", "W"]
            raise ValueError(f"masks should be {expected}, not {list(masks.shape)}")
        for maps, shown in zip(activations, masks, strict=True):  # one image at a time: enlarged maps are large
            active = active_positions(maps[None], limits, (masks.shape[2], masks.shape[3]))[0].flatten(1).float()
            present = shown.flatten(1).to(active)
            both += (active @ present.T).double().cpu()
            active_total += active.sum(1).double().cpu()
            mask_total += present.sum(1).double().cpu()
    either = active_total[:, None] + mask_total - both
    return Dissection(tuple(concepts), limits.cpu(), (both / either.clamp(min=1)).float())


def thresholds(activation_batches: Iterable[Tensor], quantile: float = QUANTILE) -> Tensor:
    """Return the quantile of each channel's activations over all pictures and positions: float32 [C].

    It holds all activations in half precision: 2 bytes for each channel and position of the dataset.

    Args:
        activation_batches: each [N, C, h, w].

    Raises:
        ValueError: there are no activations, or `quantile` is not within 0 to 1.
    """
    if not 0 < quantile < 1:
        raise ValueError(f"quantile should be between 0 and 1, not {quantile}")
    collected = [batch.transpose(0, 1).flatten(1).half() for batch in activation_batches]
    if not collected or collected[0].shape[1] == 0:
        raise ValueError("there are no activations")
    values = torch.cat(collected, 1)
    rank = min(values.shape[1], int(quantile * values.shape[1]) + 1)
    # One channel at a time: kthvalue copies its input, which may be large.
    return torch.stack([channel.float().kthvalue(rank).values for channel in values])


def active_positions(activations: Tensor, limits: Tensor, size: tuple[int, int]) -> Tensor:
    """Return where channels are active in pictures of the given size: bool [N, C, *size].

    Args:
        activations: [N, C, h, w], enlarged bilinearly, as the paper does.
        limits: [C], from `thresholds`.
    """
    enlarged = functional.interpolate(activations.float(), size, mode="bilinear", align_corners=False)
    return enlarged > limits.to(enlarged)[:, None, None]
