"""Max pooling's gradient shared out by x^2, against a plain implementation; what does not ask for it is as ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from striate_service.techniques.max_pooling import MaxPools
from torch import Tensor, nn
from torch.nn import functional

WINDOWS: list[dict[str, Any]] = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0), "dilation": (2, 1)},
    {"kernel_size": 2, "stride": 3, "dilation": 3, "padding": 1, "ceil_mode": True},
]


def reference(x: np.ndarray, gradient: np.ndarray, **window: Any) -> np.ndarray:
    """Share each window's gradient out by loops, as the definition reads."""

    def both(name: str, usual: Any) -> tuple[int, int]:
        value = window.get(name, usual)
        return value if isinstance(value, tuple) else (value, value)

    kernel = both("kernel_size", 1)
    stride, padding, dilation = both("stride", kernel), both("padding", 0), both("dilation", 1)
    found = np.zeros_like(x)
    for image, channel, row, column in np.ndindex(*gradient.shape):
        entries = [
            (image, channel, down, across)
            for i, j in np.ndindex(*kernel)
            if 0 <= (down := row * stride[0] - padding[0] + i * dilation[0]) < x.shape[2]
            and 0 <= (across := column * stride[1] - padding[1] + j * dilation[1]) < x.shape[3]
        ]
        squares = [max(x[entry], 0) ** 2 for entry in entries]
        if sum(squares) == 0:
            squares = [float(entry == max(entries, key=lambda each: x[each])) for entry in entries]
        for entry, square in zip(entries, squares, strict=True):
            found[entry] += gradient[image, channel, row, column] * square / sum(squares)
    return found


def gradients(pool: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return torch's own gradient, the recorded pools' usual and smoothed ones, and what was differentiated."""
    x = x.clone().requires_grad_()
    y = pool(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    (own,) = torch.autograd.grad((y * weights).sum(), x)
    pools = MaxPools()
    with pools:
        again = pool(x)
    torch.testing.assert_close(again, y, rtol=0, atol=0)
    (usual,) = torch.autograd.grad((again * weights).sum(), x, retain_graph=True)
    with pools.smoothed():
        (smooth,) = torch.autograd.grad((again * weights).sum(), x)
    return own, usual, smooth, weights


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("signed", [False, True])
def test_gradients_are_shared_out_by_the_square(window: dict[str, Any], signed: bool) -> None:
    x = torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    x = x if signed else x.relu()
    if not signed:
        x[0, 0] = 0  # whole windows of nothing
    if signed:
        x[0, 0] = -x[0, 0].abs()
    own, usual, smooth, weights = gradients(nn.MaxPool2d(**window), x)
    torch.testing.assert_close(usual, own, rtol=0, atol=0)
    expected = reference(x.double().numpy(), weights.double().numpy(), **window)
    np.testing.assert_allclose(smooth.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(smooth.sum(), weights.sum(), atol=1e-4)  # nothing is lost, nothing is made


def test_functions_and_pools_that_tell_indices_are_pools_too() -> None:
    x = torch.rand(1, 2, 6, 6)
    expected = gradients(nn.MaxPool2d(2), x)[2]
    for pool in (
        lambda x: functional.max_pool2d(x, 2),
        lambda x: torch.max_pool2d(x, 2),
        lambda x: functional.max_pool2d(x, 2, return_indices=True)[0],
        lambda x: nn.MaxPool2d(2, return_indices=True)(x)[0],
        torch.export.export(nn.MaxPool2d(2), (x,)).module(),
    ):
        own, usual, smooth, _ = gradients(pool, x)
        torch.testing.assert_close(usual, own, rtol=0, atol=0)
        torch.testing.assert_close(smooth, expected, rtol=0, atol=0)


def test_halves_have_a_gradient_of_halves() -> None:
    x = torch.rand(1, 2, 7, 7).bfloat16()
    own, usual, smooth, weights = gradients(nn.MaxPool2d(3, 2), x)
    assert smooth.dtype == own.dtype == torch.bfloat16
    torch.testing.assert_close(usual, own, rtol=0, atol=0)
    expected = reference(x.double().numpy(), weights.double().numpy(), kernel_size=3, stride=2)
    np.testing.assert_allclose(smooth.float(), expected, rtol=0.02, atol=0.03)
