"""Total-effect Sobol indices against functions whose indices are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from striate_service.techniques.sobol import masks, total_indices


def test_the_ishigami_function_has_its_published_indices() -> None:
    """Ishigami and Homma 1990, with a = 7, b = 0.1: total effects 0.5576, 0.4424 and 0.2437."""
    x = (2 * masks(4096, 3).astype(np.float64) - 1) * np.pi
    y = np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])
    np.testing.assert_allclose(total_indices(y[:, None], 3)[:, 0], [0.5576, 0.4424, 0.2437], atol=0.01)


@pytest.mark.parametrize("components", [2, 6, 20])
def test_a_weighted_sum_depends_on_each_input_by_its_weight_squared(components: int) -> None:
    weights = np.arange(components, dtype=np.float64)
    outputs = np.stack([masks(512, components) @ weights, np.ones(512 * (components + 2))], axis=1)
    found = total_indices(outputs, components)
    np.testing.assert_allclose(found[:, 0], weights**2 / (weights**2).sum(), atol=0.012)
    assert not found[:, 1].any(), "what does not vary depends on nothing"


def test_the_points_are_always_the_same_and_within_the_cube() -> None:
    points = masks(32, 6)
    assert points.shape == (32 * 8, 6)
    assert points.min() >= 0
    assert points.max() <= 1
    np.testing.assert_array_equal(points, masks(32, 6))
