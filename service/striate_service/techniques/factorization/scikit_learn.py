"""Other decompositions, as Lucid's ChannelReducer offers them: scikit-learn's, with a seed and bounded iterations.

They find the directions H; how strongly each is present is least squares, so that X is about W H as for every method:

- PCA and FastICA look at X less its mean, so the mean is explained only as far as it lies along their directions. W has
  either sign.
- k-means: a position belongs to one cluster alone. H holds the clusters' centers; W the position's one.
- dictionary learning: W >= 0 has few entries at a position (an L1 penalty).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from striate_service.techniques.costs import ICA_ITERATIONS, K_MEANS_ITERATIONS, dictionary_steps
from striate_service.techniques.factorization.problem import (
    Factorization,
    arrange,
    check_components,
    check_matrix,
    measure,
)
from striate_service.techniques.factorization.projection import fit_signed_weights
from striate_service.techniques.methods import Method


class TooFewDimensions(ValueError):
    """More groups are asked for than the activations have independent dimensions."""


_SEED = 0
_BATCH = 256  # positions in a step of dictionary learning
# Of the L1 penalty, where positions have length 1 in the mean: strong enough that most entries are 0.
_SPARSITY = 0.1

Array = NDArray[Any]


def decompose(x: Tensor, components: int, method: Method) -> Factorization:
    """Decompose a matrix. The same input gives the same answer; it takes one thread.

    Args:
        x: [M, C], finite.
        components: K, 1 to min(M, C).
        method: one of scikit-learn's.

    Raises:
        ValueError: `x` is not such a matrix, or K is out of range.
        TooFewDimensions: K is more than X has (FastICA).
    """
    check_matrix(x, signed=True)
    check_components(x, components)
    matrix = x.detach().float().cpu().numpy()
    iterations, converged = 0, True
    if not matrix.any():
        w, h = np.zeros((len(matrix), components), np.float32), np.zeros((components, matrix.shape[1]), np.float32)
    else:
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they warn of is in `converged`
            w, h, iterations, converged = _SOLVERS[method](matrix, components)
    if not (np.isfinite(w).all() and np.isfinite(h).all()):
        raise TooFewDimensions(f"{components} groups are more than the activations have independent dimensions")
    factors, directions = (
        torch.from_numpy(np.ascontiguousarray(part, np.float32)).to(x.device)[None] for part in (w, h)
    )
    ended = torch.tensor([iterations], device=x.device), torch.tensor([converged], device=x.device)
    return arrange(measure(x.detach().float()[None], factors, directions, *ended)).unbind()[0]


def _pca(x: Array, components: int) -> tuple[Array, Array, int, bool]:
    from sklearn.decomposition import PCA

    found = PCA(components, svd_solver="full").fit(x.astype(np.float64))
    return _strengths(x, found.components_), found.components_, 0, True


def _fast_ica(x: Array, components: int) -> tuple[Array, Array, int, bool]:
    from sklearn.decomposition import FastICA

    model = FastICA(components, whiten="unit-variance", max_iter=ICA_ITERATIONS, random_state=_SEED)
    try:
        directions = model.fit(x.astype(np.float64)).mixing_.T
    except (ValueError, np.linalg.LinAlgError):  # it has no more dimensions, and whitening divided by 0
        directions = np.full((components, x.shape[1]), np.nan)
        return np.zeros((len(x), components)), directions, 0, False
    return _strengths(x, directions), directions, int(model.n_iter_), model.n_iter_ < ICA_ITERATIONS


def _k_means(x: Array, components: int) -> tuple[Array, Array, int, bool]:
    from sklearn.cluster import KMeans

    model = KMeans(components, n_init=1, max_iter=K_MEANS_ITERATIONS, random_state=_SEED).fit(x)
    members = np.eye(components, dtype=np.float32)[model.labels_]
    return members, model.cluster_centers_, int(model.n_iter_), model.n_iter_ < K_MEANS_ITERATIONS


def _dictionary_learning(x: Array, components: int) -> tuple[Array, Array, int, bool]:
    from sklearn.decomposition import MiniBatchDictionaryLearning

    scale = np.linalg.norm(x, axis=1).mean()
    passes = dictionary_steps(len(x))
    model = MiniBatchDictionaryLearning(
        components,
        alpha=_SPARSITY,
        batch_size=_BATCH,
        max_iter=passes,
        fit_algorithm="cd",
        transform_algorithm="lasso_cd",
        positive_code=True,
        random_state=_SEED,
    )
    w = model.fit_transform((x / scale).astype(np.float64)) * scale
    return w, model.components_, int(model.n_iter_), model.n_iter_ < passes


def _strengths(x: Array, directions: Array) -> Array:
    return fit_signed_weights(torch.from_numpy(x), torch.from_numpy(directions).float()).numpy()


_SOLVERS = {
    "pca": _pca,
    "fast-ica": _fast_ica,
    "k-means": _k_means,
    "dictionary-learning": _dictionary_learning,
}
