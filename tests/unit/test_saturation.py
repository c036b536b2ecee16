"""Saturated channels: at the upper end of their activation function, and not merely strong."""

from __future__ import annotations

import numpy as np
import torch
from striate_service.explain.monitoring.comparison import _saturated
from striate_service.techniques import drift
from striate_service.techniques.observing import layer_numbers


def codes(layer: torch.Tensor) -> tuple[np.ndarray, int]:
    peaks, means, _ = layer_numbers(layer)
    return drift.encode(means.numpy()), int(drift.encode(peaks.numpy()).max())


def test_channels_at_the_upper_end_of_relu6_are_saturated_and_strong_ones_are_not() -> None:
    torch.manual_seed(0)
    before = torch.randn(40, 4, 5, 5) * 2
    before[:, 1] += 20  # always at the end
    before[:15, 2] += 20  # in fewer than half of the images
    before[:, 3] += 4  # strong, and rarely at the end
    means, most = codes(torch.nn.functional.relu6(before))
    assert _saturated(means, most).tolist() == [False, True, False, False]


def test_an_upper_end_at_the_edge_of_a_bin_is_one_too() -> None:
    torch.manual_seed(0)
    means, most = codes(torch.tanh(torch.randn(40, 2, 5, 5) + torch.tensor([5.0, 0.0])[:, None, None]))
    assert _saturated(means, most).tolist() == [True, False]


def test_without_an_upper_end_nothing_is_saturated_nor_where_nothing_is_active() -> None:
    torch.manual_seed(0)
    means, most = codes(torch.relu(torch.randn(40, 3, 5, 5) + 2))
    assert not _saturated(means, most).any()
    means, most = codes(torch.zeros(5, 3, 4, 4))
    assert not _saturated(means, most).any()
