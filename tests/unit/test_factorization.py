"""Factorization against scikit-learn and plain numpy, on the article's own activations and on random matrices."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF, PCA
from striate_service.techniques.factorization import (
    Progress,
    choose_components,
    factorize,
    factorize_batches,
    find_factors,
    nndsvd,
    project,
)
from striate_service.techniques.factorization.divergence import divergence
from striate_service.techniques.factorization.factorize import factorize_together
from threadpoolctl import threadpool_limits

REFERENCE = sorted((Path(__file__).resolve().parents[2].parent / "shared/reference/distill").glob("*_mixed4d.npy"))


def by_scikit_learn(x: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return W, H and the relative error of scikit-learn's NMF, run until it has converged."""
    model = NMF(components, init="nndsvd", solver="cd", tol=1e-6, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        w = model.fit_transform(x)
    return w, model.components_, float(np.linalg.norm(x - w @ model.components_) / np.linalg.norm(x))


@pytest.mark.skipif(not REFERENCE, reason="the article's activations (../shared) are not here")
@pytest.mark.parametrize("components", [2, *range(3, 13)])
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


def random_matrix(rng: np.random.Generator, most: int) -> np.ndarray:
    """Return a matrix of some kind that activations can be: dense, sparse, of low rank, with empty rows and columns."""
    rows, columns = rng.integers(2, most, 2)
    x = rng.random((rows, columns))
    match rng.integers(5):
        case 0:
            x *= rng.random(x.shape) > rng.uniform(0, 0.9)
        case 1:
            x = rng.standard_normal(x.shape).clip(0)
        case 2:
            rank = rng.integers(1, min(x.shape) + 1)
            x = rng.random((rows, rank)) @ rng.random((rank, columns))
        case 3:
            x = rng.gamma(0.3, size=x.shape)
            x[rng.random(rows) < 0.2], x[:, rng.random(columns) < 0.2] = 0, 0
    return x.astype(np.float32)


def test_it_is_as_good_as_scikit_learn_on_all_kinds_of_matrices() -> None:
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(200):
        x = random_matrix(rng, 48)
        components = int(rng.integers(1, min(*x.shape, 10) + 1))
        ours = factorize(torch.from_numpy(x), components)
        reached = np.linalg.norm(x - ours.weights.numpy() @ ours.directions.numpy()) / max(np.linalg.norm(x), 1e-30)
        assert float(ours.relative_error) == pytest.approx(reached, abs=1e-5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = NMF(components)
            w = model.fit_transform(x.astype(np.float64))
        error = np.linalg.norm(x - w @ model.components_) / max(np.linalg.norm(x), 1e-30)
        if np.isfinite(error):  # scikit-learn's start divides by zero on some matrices of rank 1
            ratios.append((float(ours.relative_error) + 1e-6) / (error + 1e-6))  # an exact answer is one within 1e-6
    assert np.median(ratios) <= 1.000001
    assert np.percentile(ratios, 99) <= 1.01


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


def test_it_takes_no_more_threads_than_torch() -> None:
    x = torch.rand(200, 500, generator=torch.Generator().manual_seed(0))
    with threadpool_limits(2, user_api="blas"):
        for _ in range(2):  # the first time it compiles, and threads that have just started spin for a while
            own, all_threads = time.thread_time(), time.process_time()
            for _ in range(50):
                factorize(x, 10)
            own, all_threads = time.thread_time() - own, time.process_time() - all_threads
    assert torch.get_num_threads() == 1
    assert all_threads < 1.3 * own, "a library's threads have run beside it"


@pytest.mark.parametrize(("rows", "columns"), [(40, 30), (196, 128)], ids=["small", "large"])
def test_a_problem_has_the_same_bytes_alone_and_in_a_batch(rows: int, columns: int) -> None:
    x = torch.rand(5, rows, columns, generator=torch.Generator().manual_seed(3)).pow(3)
    x[2] = 0
    together = factorize(x, 4)
    for number, found in enumerate(together.unbind()):
        alone = factorize(x[number], 4)
        for part, own in zip(found.parts(), alone.parts(), strict=True):
            assert torch.equal(part, own)


@pytest.mark.parametrize(("rows", "columns"), [(40, 30), (196, 128)], ids=["small", "large"])
def test_the_descent_in_torch_is_the_compiled_one(rows: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(4)
    w, h, noise = (torch.rand(3, *shape, generator=generator) for shape in ((rows, 4), (4, columns), (rows, columns)))
    x = w.pow(4) @ h.pow(4) + 0.05 * noise
    compiled = factorize(x, 4, init="nndsvd")
    together = factorize_together(x, 4, "nndsvd", 1e-6, 2000)
    torch.testing.assert_close(together.relative_error, compiled.relative_error, rtol=1e-4, atol=0)
    for ours, other in zip(compiled.weights, together.weights, strict=True):
        correlations = np.corrcoef(ours.T, other.T)[:4, 4:]  # groups that are equally important change places
        assert sorted(correlations.argmax(1)) == list(range(4))
        assert correlations.max(1).min() > 0.99


def test_one_starts_from_given_factors_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(5)
    x, w, h = (rng.random(shape).astype(np.float32) for shape in ((150, 120), (150, 3), (3, 120)))
    found = factorize(torch.from_numpy(x), 3, init=(torch.from_numpy(w), torch.from_numpy(h)))
    model = NMF(3, init="custom", tol=1e-6, max_iter=2000)
    expected = model.fit_transform(x, W=w.copy(), H=h.copy())
    error = np.linalg.norm(x - expected @ model.components_) / np.linalg.norm(x)
    assert float(found.relative_error) == pytest.approx(error, rel=1e-3)
    with pytest.raises(ValueError, match=r"W should be of shape \(1, 150, 3\)"):
        factorize(torch.from_numpy(x), 3, init=(torch.from_numpy(w.T), torch.from_numpy(h)))


def test_the_divergence_is_minimized_as_scikit_learn_does() -> None:
    x = np.random.default_rng(6).poisson(2, (60, 40)).astype(np.float32)
    found = factorize(torch.from_numpy(x), 5, loss="kullback-leibler")
    model = NMF(5, init="nndsvda", solver="mu", beta_loss="kullback-leibler", tol=1e-5, max_iter=2000)
    w = torch.from_numpy(model.fit_transform(x))
    ours, theirs = (
        float(divergence(torch.from_numpy(x)[None], *factors))
        for factors in (
            (found.weights[None], found.directions[None]),
            (w[None], torch.from_numpy(model.components_)[None]),
        )
    )
    assert ours <= 1.005 * theirs


def test_projection_is_non_negative_least_squares() -> None:
    rng = np.random.default_rng(7)
    x = torch.from_numpy(rng.random((2, 90, 200)).astype(np.float32))
    directions = torch.from_numpy((rng.random((6, 200)) * (rng.random((6, 200)) > 0.5)).astype(np.float32))
    found = project(x, directions)
    assert torch.equal(found.directions[0], directions)
    for image, weights in zip(x.numpy(), found.weights.numpy(), strict=True):
        exact = [nnls(directions.numpy().T.astype(np.float64), row.astype(np.float64))[0] for row in image]
        np.testing.assert_allclose(weights, exact, atol=1e-5)
    assert torch.equal(project(x[1], directions).weights, found.weights[1])
    with pytest.raises(ValueError, match="directions have 200 channels, and x has 199"):
        project(x[..., 1:], directions)


def test_a_basis_from_batches_is_as_good_as_one_from_all_at_once() -> None:
    rng = np.random.default_rng(8)
    groups = rng.random((5, 64)) ** 4
    images = [torch.from_numpy(rng.random((100, 5)) ** 3 @ groups + 0.1 * rng.random((100, 64))) for _ in range(120)]
    seen: list[Progress] = []
    basis = factorize_batches(lambda: iter(images), 5, progress=seen.append)
    whole = torch.cat(images).float()
    assert basis.rows == len(whole) == seen[-1].rows
    assert {update.phase for update in seen} == set(range(seen[-1].phase + 1))
    assert basis.relative_error <= 1.01 * float(factorize(whole, 5).relative_error)
    assert float(project(whole, basis.directions).relative_error) <= basis.relative_error + 1e-5
    assert basis.importance.tolist() == sorted(basis.importance.tolist(), reverse=True)
    with pytest.raises(ValueError, match="batches are empty"):
        factorize_batches(lambda: iter([]), 5)


def test_as_many_groups_are_chosen_as_there_are() -> None:
    rng = np.random.default_rng(9)
    x = np.kron(np.eye(4), rng.random((30, 20)) + 0.5) + 0.05 * rng.random((120, 80))
    choice = choose_components(torch.from_numpy(x.astype(np.float32)), most=10)
    assert choice.components == 4 == choice.factorization.weights.shape[1]
    assert choice.candidates == tuple(range(1, 11))
    assert list(choice.explained) == pytest.approx(sorted(choice.explained), abs=1e-4)


def by_multiplicative_updates(x: np.ndarray, components: int) -> float:
    """Return the relative error of semi-NMF by Ding, Li and Jordan's updates (2010, eq. 10 and 11), run until they have
    converged, from k-means as they advise.
    """
    w = np.eye(components)[KMeans(components, n_init=1, random_state=0).fit(x).labels_] + 0.2
    before = np.inf
    for iteration in range(5000):
        h = np.linalg.pinv(w.T @ w) @ (w.T @ x)
        along, alone = x @ h.T, h @ h.T
        above, below = (np.maximum(sign * alone, 0) for sign in (1, -1))
        upper, lower = along.clip(0) + w @ below, (-along).clip(0) + w @ above
        w *= np.sqrt(upper / np.maximum(lower, 1e-12))
        if iteration % 50 == 0:
            error = float(np.linalg.norm(x - w @ np.linalg.pinv(w.T @ w) @ (w.T @ x)))
            if before - error <= 1e-6 * error:
                break
            before = error
    return error / float(np.linalg.norm(x))


def signed_matrix(rng: np.random.Generator, rows: int, columns: int, kind: int) -> np.ndarray:
    """Return noise, groups with noise, or what GELU leaves of it."""
    x = rng.standard_normal((rows, columns))
    if kind == 1:
        x = rng.random((rows, 5)) ** 3 @ rng.standard_normal((5, columns)) + 0.3 * x
    return (x.clip(-0.17) if kind == 2 else x).astype(np.float32)


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_semi_nmf_is_as_good_as_its_authors_updates(kind: int) -> None:
    rng = np.random.default_rng(kind)
    for rows, columns, components in ((30, 40, 3), (120, 60, 6), (200, 120, 5)):
        x = signed_matrix(rng, rows, columns, kind)
        found = factorize(torch.from_numpy(x), components, method="semi-nmf")
        reached = np.linalg.norm(x - found.weights.numpy() @ found.directions.numpy()) / np.linalg.norm(x)
        assert float(found.relative_error) == pytest.approx(reached, rel=1e-4)
        assert found.weights.min() >= 0
        assert reached <= 1.001 * by_multiplicative_updates(x.astype(np.float64), components)
        assert bool(found.converged)


@pytest.mark.parametrize(("rows", "columns"), [(40, 30), (196, 128)], ids=["small", "large"])
def test_semi_nmf_gives_the_same_bytes_alone_and_in_a_batch_and_the_same_groups_in_torch(
    rows: int, columns: int
) -> None:
    rng = np.random.default_rng(3)
    x = torch.from_numpy(np.stack([signed_matrix(rng, rows, columns, 1) for _ in range(4)]))
    x[1], x[2] = 0, -x[2].abs()
    together = factorize(x, 4, method="semi-nmf")
    for number, found in enumerate(together.unbind()):
        for part, own in zip(found.parts(), factorize(x[number], 4, method="semi-nmf").parts(), strict=True):
            assert torch.equal(part, own)
    in_torch = factorize_together(x, 4, "nndsvd", 1e-6, 2000, -np.inf)
    torch.testing.assert_close(in_torch.relative_error, together.relative_error, rtol=1e-3, atol=1e-6)


def test_nothing_negative_about_the_matrix_is_lost() -> None:
    outer = torch.outer(torch.arange(1.0, 9), -torch.arange(1.0, 6))
    assert float(factorize(outer, 1, method="semi-nmf").relative_error) < 1e-5
    x = torch.from_numpy(signed_matrix(np.random.default_rng(0), 60, 40, 0))
    rectified, clamped = factorize(x, 3, rectify=True), factorize(x.clamp(min=0), 3)
    torch.testing.assert_close(rectified.weights @ rectified.directions, clamped.weights @ clamped.directions)
    left = x - rectified.weights @ rectified.directions
    assert float(rectified.relative_error) == pytest.approx(float(left.norm() / x.norm()), rel=1e-5)
    from_batches = factorize_batches(lambda: iter(x.split(25)), 3, rectify=True)
    assert from_batches.relative_error == pytest.approx(float(rectified.relative_error), rel=0.01)
    found = project(x, from_batches.directions, rectify=True)
    assert from_batches.relative_error == pytest.approx(float(found.relative_error), rel=1e-4)
    torch.testing.assert_close(from_batches.importance, found.importance, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="rectify goes with"):
        factorize(x, 3, method="semi-nmf", rectify=True)


def test_projection_onto_signed_directions_is_least_squares() -> None:
    rng = np.random.default_rng(7)
    x, directions = (rng.standard_normal(shape).astype(np.float32) for shape in ((50, 90), (4, 90)))
    given = torch.from_numpy(x), torch.from_numpy(directions)
    exact = [nnls(directions.T.astype(np.float64), row.astype(np.float64))[0] for row in x]
    np.testing.assert_allclose(project(*given, method="semi-nmf").weights, exact, atol=1e-5)
    free = np.linalg.lstsq(directions.T, x.T, rcond=None)[0].T
    np.testing.assert_allclose(project(*given, method="pca").weights, free, atol=1e-5)
    with pytest.raises(ValueError, match="negative"):
        project(*given)


def test_a_signed_basis_from_batches_is_as_good_as_one_from_all_at_once() -> None:
    rng = np.random.default_rng(8)
    groups = rng.standard_normal((4, 48))
    images = [
        torch.from_numpy(rng.random((100, 4)) ** 3 @ groups + 0.1 * rng.standard_normal((100, 48))) for _ in range(90)
    ]
    basis = factorize_batches(lambda: iter(images), 4, method="semi-nmf")
    whole = torch.cat(images).float()
    assert basis.directions.min() < 0
    assert basis.relative_error <= 1.01 * float(factorize(whole, 4, method="semi-nmf").relative_error)
    again = project(whole, basis.directions, method="semi-nmf")
    assert float(again.relative_error) <= basis.relative_error + 1e-5


def test_scikit_learns_methods_find_what_scikit_learn_finds() -> None:
    rng = np.random.default_rng(0)
    x = signed_matrix(rng, 150, 40, 1)
    given = torch.from_numpy(x)
    axes = PCA(4).fit(x).components_
    for method in ("pca", "fast-ica"):  # independent components span the same space as principal ones
        found = find_factors(given, 4, method=method)
        within = axes.T @ (axes @ found.directions.numpy().T)
        np.testing.assert_allclose(within, found.directions.numpy().T, atol=1e-4)
        np.testing.assert_allclose(found.weights @ found.directions, x @ axes.T @ axes, atol=1e-4)
    clusters = find_factors(given, 4, method="k-means")
    assert ((clusters.weights > 0).sum(1) == 1).all()
    labels = clusters.weights.argmax(1).numpy()
    fit = (clusters.weights @ clusters.directions).numpy()
    for cluster in range(4):
        np.testing.assert_allclose(fit[labels == cluster][0], x[labels == cluster].mean(0), atol=1e-4)
    sparse = find_factors(given, 4, method="dictionary-learning")
    assert sparse.weights.min() >= 0
    assert float(sparse.relative_error) < 1.2 * float(factorize(given, 4, method="semi-nmf").relative_error)
    for method in ("pca", "fast-ica", "k-means", "dictionary-learning"):
        first, second = (find_factors(given, 4, method=method) for _ in range(2))
        assert torch.equal(first.weights, second.weights)
        assert float(find_factors(torch.zeros(9, 5), 2, method=method).relative_error) == 0
    choice = choose_components(given, most=6, method="pca")
    assert list(choice.explained) == sorted(choice.explained)


def test_a_tolerance_of_0_is_none_and_running_out_is_said() -> None:
    x = torch.rand(150, 120, generator=torch.Generator().manual_seed(0))
    usual, early = factorize(x, 3), factorize(x, 3, max_iterations=4)
    exact = factorize(x, 3, tolerance=0, max_iterations=300)
    assert exact.iterations > usual.iterations
    assert exact.relative_error <= usual.relative_error
    assert bool(usual.converged)
    assert (int(early.iterations), bool(early.converged)) == (4, False)
    in_torch = factorize_together(x[None], 3, "nndsvd", 1e-6, 4)
    assert (int(in_torch.iterations[0]), bool(in_torch.converged[0])) == (4, False)


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
