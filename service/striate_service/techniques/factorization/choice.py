"""Choose the number of groups at the knee of the explained share (Satopaa et al. 2011, "Kneedle")."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from striate_service.techniques.factorization.factorize import factorize
from striate_service.techniques.factorization.problem import Factorization, check_matrix


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


def choose_components(x: Tensor, *, most: int = 16) -> Choice:
    """Choose the number of groups after which more groups explain little more.

    Args:
        x: [M, C], finite, >= 0.
        most: candidates are 1 to the smallest of this, M and C.

    Raises:
        ValueError: `x` is not such a matrix, or `most` is below 1.
    """
    check_matrix(x)
    if x.dim() != 2:
        raise ValueError(f"x should be one matrix, not of shape {tuple(x.shape)}")
    if most < 1:
        raise ValueError(f"most should be at least 1, not {most}")
    candidates = tuple(range(1, min(most, *x.shape) + 1))
    found = [factorize(x, components) for components in candidates]
    explained = tuple(1 - float(factorization.relative_error) ** 2 for factorization in found)
    chosen = _knee(explained)
    return Choice(candidates[chosen], candidates, explained, found[chosen])


def _knee(curve: tuple[float, ...]) -> int:
    """Return the index at which a rising, concave curve is farthest above its chord."""
    rise, last = curve[-1] - curve[0], len(curve) - 1
    heights = [(value - curve[0]) - rise * index / max(last, 1) for index, value in enumerate(curve)]
    return heights.index(max(heights))
