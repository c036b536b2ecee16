"""Network dissection against cases whose answer is known by construction."""

from __future__ import annotations

import pytest
import torch
from striate_service.techniques.dissection import dissect, thresholds
from torch import Tensor


def _squares(count: int, seed: int) -> Tensor:
    """Masks bool [count, 2, 16, 16]: concept 0 is a square at a random place, concept 1 another one."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, 2, 16, 16, dtype=torch.bool)
    for picture in masks:
        for mask in picture:
            row, column = torch.randint(0, 14, (2,), generator=generator).tolist()
            mask[row : row + 2, column : column + 2] = True
    return masks


def test_a_channel_that_copies_a_mask_matches_it_fully() -> None:
    masks = _squares(20, seed=0)
    share = 4 / 256  # of the positions is in each mask
    activations = torch.stack([masks[:, 1].float(), masks[:, 0].float()], 1)
    noise = torch.rand(activations.shape, generator=torch.Generator().manual_seed(1))
    activations = activations + 0.1 * noise
    dissection = dissect([activations[:7], activations[7:]], [masks[:7], masks[7:]], ["left", "right"], 1 - share)
    assert [d.concept for d in dissection.best()] == ["right", "left"]
    assert all(d.iou > 0.98 for d in dissection.best())


def test_iou_is_that_of_the_definition() -> None:
    generator = torch.Generator().manual_seed(1)
    activations = torch.rand(6, 3, 8, 8, generator=generator)
    masks = torch.rand(6, 4, 8, 8, generator=generator) > 0.7
    dissection = dissect([activations], [masks], ["a", "b", "c", "d"], 0.9)
    active = activations > dissection.thresholds[:, None, None]
    for channel in range(3):
        for concept in range(4):
            both = (active[:, channel] & masks[:, concept]).sum()
            either = (active[:, channel] | masks[:, concept]).sum()
            assert dissection.iou[channel, concept] == pytest.approx(float(both / either), rel=1e-5)


def test_batches_make_no_difference() -> None:
    masks = _squares(12, seed=2)
    activations = torch.rand(12, 5, 8, 8, generator=torch.Generator().manual_seed(3))
    whole = dissect([activations], [masks], ["a", "b"], 0.95)
    pieces = dissect(list(activations.split(5)), list(masks.split(5)), ["a", "b"], 0.95)
    assert torch.equal(whole.thresholds, pieces.thresholds)
    assert torch.equal(whole.iou, pieces.iou)


def test_maps_are_enlarged_to_the_masks_size() -> None:
    activations = torch.zeros(1, 1, 4, 4)
    activations[0, 0, 1, 2] = 1
    masks = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    masks[0, 0, 8:16, 16:24] = True  # the same place, eight times finer
    dissection = dissect([activations], [masks], ["place"], 0.5)
    assert dissection.iou.item() == pytest.approx(64 / 256)  # bilinear: it reaches half a cell further on each side


def test_a_threshold_is_exceeded_at_the_chosen_share_of_positions() -> None:
    activations = torch.rand(10, 2, 10, 10, generator=torch.Generator().manual_seed(4))
    limits = thresholds([activations], 0.99)
    shares = (activations.half().float() > limits[:, None, None]).float().mean((0, 2, 3))
    assert torch.all((shares - 0.01).abs() < 0.003)


def test_a_silent_channel_detects_nothing() -> None:
    dissection = dissect([torch.zeros(2, 1, 4, 4)], [torch.ones(2, 1, 4, 4, dtype=torch.bool)], ["all"])
    assert dissection.detectors() == []


def test_a_generator_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        dissect((torch.zeros(1, 1, 2, 2) for _ in range(1)), [torch.zeros(1, 1, 2, 2)], ["a"])


def test_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="masks should be"):
        dissect([torch.zeros(2, 1, 2, 2)], [torch.zeros(2, 3, 2, 2, dtype=torch.bool)], ["a"])
