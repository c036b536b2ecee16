"""Choose the number of groups at the knee of the explained share (Satopaa et al. 2011, "Kneedle")."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from striate_service.techniques.factorization.factorize import factorize
from striate_service.techniques.factorization.problem import Factorization, check_matrix
from striate_service.techniques.methods import Method


@dataclass(frozen=True)
class Choice:
    """The chosen number of groups, and the candidates."""

    components: int
    candidates: tuple[int, ...]
    """The numbers of groups that were tried, ascending."""
    explained: tuple[float, ...]
    """For each candidate, 1 - ||X - W H||^2 / ||X||^2."""
    factorization: Factorization
    """Into the chosen number of groups."""


def find_factors(x: Tensor, components: int, *, method: Method = "nmf", rectify: bool = False) -> Factorization:
    """Factorize [M, C], or a batch [B, M, C] by "nmf" or "semi-nmf", by any method: `factorize` or `decompose`."""
    if method == "nmf" or method == "semi-nmf":
        return factorize(x, components, method=method, rectify=rectify)
    from striate_service.techniques.factorization.scikit_learn import decompose  # which takes a second to load

    return decompose(x, components, method)


def choose_components(x: Tensor, *, most: int = 16, method: Method = "nmf", rectify: bool = False) -> Choice:
    """Choose the number of groups after which more groups explain little more.

    Args:
        x: [M, C], finite; >= 0 for "nmf" without `rectify`.
        most: candidates are 1 to the smallest of this, M and C.
        method, rectify: as for `factorize`.

    Raises:
        ValueError: `x` is not such a matrix, or `most` is below 1.
    """
    check_matrix(x, signed=rectify or method != "nmf")
    if x.dim() != 2:
        raise ValueError(f"x should be one matrix, not of shape {tuple(x.shape)}")
    if most < 1:
        raise ValueError(f"most should be at least 1, not {most}")
    candidates = tuple(range(1, min(most, *x.shape) + 1))
    found = [find_factors(x, components, method=method, rectify=rectify) for components in candidates]
    explained = tuple(1 - float(factorization.relative_error) ** 2 for factorization in found)
    chosen = _knee(explained)
    return Choice(candidates[chosen], candidates, explained, found[chosen])


def _knee(curve: tuple[float, ...]) -> int:
    """Return the index at which a rising, concave curve is farthest above its chord."""
    rise, last = curve[-1] - curve[0], len(curve) - 1
    heights = [(value - curve[0]) - rise * index / max(last, 1) for index, value in enumerate(curve)]
    return heights.index(max(heights))
