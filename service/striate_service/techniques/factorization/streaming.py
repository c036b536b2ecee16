"""One basis for more activations than fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from striate_service.techniques.factorization.factorize import factorize


@dataclass(frozen=True)
class Progress:
    """How far a factorization over batches is."""

    phase: int
    """Of `phases`, from 0. In each all batches are read once."""
    phases: int
    """At most: it ends sooner where nothing changes any more."""
    rows: int
    """Rows of X read in this phase."""
    relative_error: float
    """||X - W H|| / ||X|| over the rows of the phase so far; 1 while there are no groups."""


@dataclass(frozen=True)
class Basis:
    """Directions shared by all batches, in descending order of importance."""

    directions: Tensor
    """H: float32 [K, C], rows of unit length."""
    relative_error: float
    """||X - W H|| / ||X|| over all batches, W being each one's projection."""
    importance: Tensor
    """[K]: 1 - ||X - w_k h_k||^2 / ||X||^2."""
    rows: int
    """M, in all."""


def factorize_batches(
    batches: Callable[[], Iterator[Tensor]],
    components: int,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Basis:
    """Find directions shared by batches of activations. What each batch's weights are, `project` says.

    Args:
        batches: gives X [m, C] piece by piece, the same ones whenever it is called.
        components: K, 1 to min(M, C).
        progress: is called after each batch; an exception that it raises ends the work.

    Raises:
        ValueError: a batch is not a finite, non-negative matrix, or K is out of range.
    """
    whole = torch.cat(list(batches()))
    found = factorize(whole, components)
    progress(Progress(0, 1, len(whole), float(found.relative_error)))
    return Basis(found.directions, float(found.relative_error), found.importance, len(whole))
