"""Non-negative factorization against scikit-learn, on the article's own activations and on random matrices."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import NMF
from striate_service.techniques.factorization import factorize, nndsvd

REFERENCE = sorted((Path(__file__).resolve().parents[2].parent / "shared/reference/distill").glob("*_mixed4d.npy"))


def by_scikit_learn(x: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return W, H and the relative error of scikit-learn's NMF, run until it has converged."""
    model = NMF(components, init="nndsvd", solver="cd", tol=1e-6, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        w = model.fit_transform(x)
    return w, model.components_, float(np.linalg.norm(x - w @ model.components_) / np.linalg.norm(x))


@pytest.mark.skipif(not REFERENCE, reason="the article's activations (../shared) are not here")
@pytest.mark.parametrize("components", [2, 4, 6, 8, 10])
@pytest.mark.parametrize("file", REFERENCE, ids=lambda file: file.stem)
def test_the_articles_groups_are_found(file: Path, components: int) -> None:
    x = np.load(file).reshape(-1, 528)
    w, _, error = by_scikit_learn(x.astype(np.float64), components)
    ours = factorize(torch.from_numpy(x), components)
    assert float(ours.relative_error) <= 1.00001 * error
    correlations = np.corrcoef(w.T, ours.weights.numpy().T)[:components, components:]
    assert sorted(correlations.argmax(1)) == list(range(components)), "each map has its own counterpart"
    assert correlations.max(1).min() >= 0.99


def test_the_start_is_scikit_learns_nndsvd() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((40, 6)) @ (rng.random((6, 30)) * 4.0 ** -np.arange(6)[:, None])  # its randomized SVD is exact here
    from sklearn.decomposition._nmf import _initialize_nmf

    w, h = (factor[0] for factor in nndsvd(torch.from_numpy(x)[None], 5))
    expected_w, expected_h = _initialize_nmf(x, 5, init="nndsvd", random_state=0)
    np.testing.assert_allclose(w, expected_w, atol=1e-5)
    np.testing.assert_allclose(h, expected_h, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(2, 60), st.integers(1, 6), st.floats(0, 0.9))
def test_it_is_as_good_as_scikit_learn_on_any_matrix(
    seed: int, rows: int, columns: int, components: int, zeros: float
) -> None:
    rng = np.random.default_rng(seed)
    components = min(components, rows, columns)
    x = rng.random((rows, columns)) * (rng.random((rows, columns)) > zeros)
    if not x.any():
        return
    ours = factorize(torch.from_numpy(x.astype(np.float32)), components)
    _, _, error = by_scikit_learn(x, components)
    if np.isfinite(error):  # scikit-learn's start divides by zero on some matrices of rank 1
        assert float(ours.relative_error) <= 1.02 * error + 1e-4
    reached = np.linalg.norm(x - ours.weights.numpy() @ ours.directions.numpy()) / np.linalg.norm(x)
    assert float(ours.relative_error) == pytest.approx(reached, abs=1e-4)


def test_factors_are_non_negative_of_unit_length_and_in_order_of_importance() -> None:
    x = torch.rand(50, 20, generator=torch.Generator().manual_seed(1))
    found = factorize(x, 4)
    assert found.weights.min() >= 0
    assert found.directions.min() >= 0
    torch.testing.assert_close(found.directions.norm(dim=1), torch.ones(4))
    alone = [
        1 - (x - torch.outer(found.weights[:, k], found.directions[k])).square().sum() / x.square().sum()
        for k in range(4)
    ]
    torch.testing.assert_close(found.importance, torch.stack(alone), atol=1e-5, rtol=1e-4)
    assert found.importance.tolist() == sorted(found.importance.tolist(), reverse=True)


def test_the_same_input_gives_the_same_bytes() -> None:
    x = torch.rand(60, 40, generator=torch.Generator().manual_seed(2))
    first, second = factorize(x, 5), factorize(x.clone(), 5)
    assert torch.equal(first.weights, second.weights)
    assert torch.equal(first.directions, second.directions)


def test_degenerate_matrices_have_their_exact_answers() -> None:
    nothing = factorize(torch.zeros(6, 4), 2)
    assert (float(nothing.relative_error), nothing.weights.sum(), nothing.directions.sum()) == (0, 0, 0)
    rank_one = factorize(torch.outer(torch.arange(1.0, 7), torch.arange(1.0, 5)), 3)
    assert float(rank_one.relative_error) < 1e-5
    assert rank_one.importance[0] == pytest.approx(1)
    empty_rows = torch.rand(8, 5)
    empty_rows[3:5], empty_rows[:, 2] = 0, 0
    found = factorize(empty_rows, 2)
    assert found.weights[3:5].max() < 1e-6
    assert found.directions[:, 2].max() < 1e-6


@pytest.mark.parametrize(
    ("x", "components", "complaint"),
    [
        (torch.tensor([[1.0, -0.5], [0.0, 1.0]]), 1, "negative values, as low as -0.5"),
        (torch.tensor([[1.0, float("nan")]]), 1, "NaN or infinity"),
        (torch.ones(3, 4), 4, "1 to 3"),
        (torch.ones(3, 4), 0, "1 to 3"),
        (torch.ones(3), 1, "matrix"),
    ],
)
def test_what_cannot_be_factorized_is_named(x: torch.Tensor, components: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        factorize(x, components)
