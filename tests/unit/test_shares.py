"""What groups explain of a layer, in shares that add up."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import NMF
from striate.results.groups import FactorizationData, Group
from striate.results.icons import Icon
from striate.results.neurons import Label
from striate.show.sentences import more_groups, whole_percents


def factorization(x: np.ndarray, w: np.ndarray, h: np.ndarray, **more: object) -> FactorizationData:
    """Return groups of activations x [P, C]: strengths w [P, K], directions h [K, C]."""
    length = np.linalg.norm(h, axis=1)
    groups = [Group("#ff0000", Icon("queued"), Label(""), 0.0, [0], {}) for _ in h]
    data: dict[str, object] = {"model": None, "layer": None, "views": [], "predictions": [], "classes": []}
    data |= {"spatial": (w * length)[None, None], "directions": h / length[:, None], "groups": groups}
    data |= {"relative_error": float(np.linalg.norm(x - w @ h) / np.linalg.norm(x)), "overlays": [], "images": []}
    data |= {"effects": np.zeros((0, len(h), 0)), "residual_effects": np.zeros((0, 0))}
    return FactorizationData(**(data | more))  # type: ignore[arg-type]


def test_shares_are_what_each_group_has_of_the_activations() -> None:
    x = np.random.default_rng(0).random((60, 20)) ** 3
    solver = NMF(4, init="nndsvd", max_iter=5000, tol=1e-10, random_state=0)
    w = solver.fit_transform(x)
    h = solver.components_
    found = factorization(x, w, h)
    expected = [float((x * np.outer(w[:, k], h[k])).sum() / (x**2).sum()) for k in range(4)]  # <X, w_k h_k> / ||X||^2
    np.testing.assert_allclose(found.shares, expected, rtol=1e-3)
    assert found.shares.sum() + found.left_out == pytest.approx(1)


def test_groups_without_strength_share_nothing() -> None:
    x = np.ones((3, 2))
    found = factorization(x, np.zeros((3, 2)), np.eye(2))
    assert found.shares.tolist() == [0, 0]
    assert found.left_out == 1


def test_percents_add_up() -> None:
    assert whole_percents([1 / 3, 1 / 3, 1 / 3]) == [34, 33, 33]
    assert whole_percents([0.005, 0.005, 0.99]) == [1, 0, 99]
    assert whole_percents([0.126, 0.874]) == [13, 87]
    assert whole_percents([-0.004, 0.504, 0.5]) == [0, 50, 50]


def test_more_groups_are_suggested_where_most_is_left_out() -> None:
    x = np.eye(8)
    few, all_of_them = np.eye(8)[:, :2], np.eye(8)
    assert more_groups(factorization(x, few, few.T)) == 4
    assert more_groups(factorization(x, few, few.T, basis="kept")) is None
    assert more_groups(factorization(x, all_of_them, all_of_them.T)) is None
