"""One basis for more activations than fit into memory.

X comes in blocks of rows X_b, again and again. The directions start from a sample of the rows. Then the blocks are
visited in turn: W_b becomes the exact minimizer given H, and its Gram matrices W_b'W_b and W_b'X_b take the place of
those that the block had before. Their sums over all blocks are all that it takes to minimize over H, which is done at
once. Each step minimizes the whole ||X - W H|| over some of its variables, so the error falls with every block, to a
minimum of the same kind as with all of X in memory. (This is the online learning of Mairal et al. 2010, without its
forgetting.) Kept in memory are one block, K (C + K) numbers for each, and the sample; weights are computed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from striate_service.techniques.factorization.factorize import factorize
from striate_service.techniques.factorization.problem import check_components, check_matrix
from striate_service.techniques.factorization.projection import fit_weights, settled

_BLOCK = 4096  # rows: 8 MB of 512 channels; its Gram matrices are then 1/400 of it with 10 groups
_SAMPLE = 4096  # rows, at least half as many
_SWEEPS = 10  # over H for each block; the next block comes soon
_TOLERANCE = 1e-4  # of the squared error: a phase that gains less is the last


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
    """||X - W H|| / ||X|| over all batches; `project` reaches it, or less."""
    importance: Tensor
    """[K]: 1 - ||X - w_k h_k||^2 / ||X||^2."""
    rows: int
    """M, in all."""


def factorize_batches(
    batches: Callable[[], Iterable[Tensor]],
    components: int,
    *,
    phases: int = 6,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Basis:
    """Find directions shared by batches of activations. What each batch's weights are, `project` says.

    Args:
        batches: gives X [m, C] piece by piece, the same ones whenever it is called.
        components: K, 1 to min(M, C).
        phases: how often the batches may be read, at least 2: once for a sample, then to improve the directions.
        progress: is called after each block; an exception that it raises ends the work.

    Raises:
        ValueError: a batch is not a finite, non-negative matrix, or differs in channels, or K is out of range.
    """
    sample, rows = _sample(batches, lambda rows: progress(Progress(0, phases, rows, 1.0)))
    check_components(sample, components)
    h = factorize(sample, components).directions.double()
    seen: list[tuple[Tensor, Tensor]] = []  # by block, W_b'W_b and W_b'X_b
    squared_norm, before = 0.0, float("inf")
    curvatures, products = h.new_zeros(components, components), torch.zeros_like(h)
    for phase in range(1, phases):
        read, left, passed = 0, 0.0, 0.0
        for number, block in enumerate(_blocks(batches())):
            own = _gram(block, h)
            block_norm = _squared_norm(block)
            left += block_norm - 2 * float((own[1] * h).sum()) + float((own[0] * (h @ h.mT)).sum())
            passed, read = passed + block_norm, read + len(block)
            if phase == 1:  # H waits until all blocks have been seen
                seen.append(own)
                curvatures, products = curvatures + own[0], products + own[1]
            else:
                curvatures, products = curvatures + own[0] - seen[number][0], products + own[1] - seen[number][1]
                seen[number] = own
                h = settled(h, products, curvatures, _SWEEPS)
            progress(Progress(phase, phases, read, (max(left, 0) / passed) ** 0.5 if passed else 0.0))
        squared_norm = passed
        if phase == 1:
            h = settled(h, products, curvatures, _SWEEPS)
        if before - left <= _TOLERANCE * left:
            break
        before = left
    return _arranged(h, products, curvatures, squared_norm, rows)


def _sample(batches: Callable[[], Iterable[Tensor]], progress: Callable[[int], None]) -> tuple[Tensor, int]:
    """Return up to _SAMPLE rows, evenly spaced over all, and how many there are."""
    kept: list[Tensor] = []
    rows, stride = 0, 1
    for block in _blocks(batches()):
        kept.append(block[-rows % stride :: stride].clone())
        rows += len(block)
        progress(rows)
        while sum(map(len, kept)) > _SAMPLE:
            kept, stride = [torch.cat(kept)[::2].clone()], 2 * stride
    if not rows:
        raise ValueError("batches are empty: there is nothing to factorize")
    return torch.cat(kept), rows


def _blocks(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Check batches, and cut and join them to blocks of _BLOCK rows."""
    waiting: list[Tensor] = []
    for batch in batches:
        check_matrix(batch)
        if batch.dim() != 2 or (waiting and batch.shape[1] != waiting[0].shape[1]):
            raise ValueError(f"each batch should be [m, C] with one C, not {tuple(batch.shape)}")
        waiting.append(batch.float())
        while (size := sum(map(len, waiting))) >= _BLOCK:
            joined = waiting[0] if len(waiting) == 1 else torch.cat(waiting)
            yield joined[:_BLOCK]
            waiting = [joined[_BLOCK:]] if size > _BLOCK else []
    if waiting:
        yield torch.cat(waiting)


def _squared_norm(block: Tensor) -> float:
    """Return ||X_b||^2, of rows' own in float64: a sum in float64 over all numbers would first copy them as such."""
    return float(torch.linalg.vector_norm(block, dim=1).double().square().sum())


def _gram(block: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Return W'W and W'X of a block, W being its minimizer."""
    w = fit_weights(block, h.float())
    return w.double().mT @ w.double(), (w.mT @ block).double()


def _arranged(h: Tensor, products: Tensor, curvatures: Tensor, squared_norm: float, rows: int) -> Basis:
    if squared_norm == 0:
        return Basis(h.float(), 0.0, h.new_zeros(len(h)).float(), rows)
    squared_lengths = h.square().sum(1)
    importance = (2 * (products * h).sum(1) - curvatures.diagonal() * squared_lengths) / squared_norm
    left = squared_norm - 2 * float((products * h).sum()) + float((curvatures * (h @ h.mT)).sum())
    order = importance.argsort(descending=True, stable=True)
    unit = h / torch.where(squared_lengths > 0, squared_lengths, 1).sqrt()[:, None]
    return Basis(unit[order].float(), (max(left, 0) / squared_norm) ** 0.5, importance[order].float(), rows)
