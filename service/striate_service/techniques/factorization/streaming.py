"""One basis for more activations than fit into memory.

X is read several times, in blocks of rows X_b. The directions start from a sample of the rows. Then the blocks are
visited in turn: W_b becomes the exact minimizer given H, and the matrices W_b'W_b and W_b'X_b replace the block's
former ones. The sums of these matrices over all blocks suffice to minimize over H, which follows each block. Each step
minimizes the whole ||X - W H|| over some of its variables, so the error falls with every block, to a local minimum, as
with all of X in memory. (This is the online learning of Mairal et al. 2010, without its forgetting.) Memory holds one
block, K (C + K) numbers for every block, and the sample; weights are not kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from striate_service.techniques.factorization.factorize import factorize
from striate_service.techniques.factorization.problem import check_components, check_matrix
from striate_service.techniques.factorization.projection import fit_weights, minimize_rows

_BLOCK = 4096  # rows: 8 MB for 512 channels; with 10 groups the block's two matrices take 1/400 of that
_SAMPLE = 4096  # rows at most, and at least half as many where X has them
_SWEEPS = 10  # over H after each block; the next block soon improves H further
_TOLERANCE = 1e-4  # of the squared error: a phase that lowers it by less is the last


@dataclass(frozen=True)
class Progress:
    """How far a factorization over batches is."""

    phase: int
    """Counted from 0. Each phase reads all batches once."""
    phases: int
    """The most there can be: the work ends sooner where it converges."""
    rows: int
    """Rows of X read in this phase."""
    relative_error: float
    """||X - W H|| / ||X|| over the rows of the phase so far; 1 in phase 0."""


@dataclass(frozen=True)
class Basis:
    """Directions shared by all batches, in descending order of importance."""

    directions: Tensor
    """H: float32 [K, C], rows of unit length."""
    relative_error: float
    """||X - W H|| / ||X|| over all batches; `project` gives this or less."""
    importance: Tensor
    """[K]: 1 - ||X - w_k h_k||^2 / ||X||^2."""
    rows: int
    """M, over all batches."""


def factorize_batches(
    batches: Callable[[], Iterable[Tensor]],
    components: int,
    *,
    method: Literal["nmf", "semi-nmf"] = "nmf",
    rectify: bool = False,
    phases: int = 6,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Basis:
    """Find directions shared by batches of activations. `project` gives the weights of a batch.

    Args:
        batches: returns the pieces X [m, C] in turn, the same ones on every call.
        components: K, 1 to min(M, C).
        method: "semi-nmf": X and the directions may be negative.
        rectify: take negative values as 0, by "nmf". Errors and shares are still those of X as it is, for which the
            batches are read once more.
        phases: how often the batches may be read, at least 2: once for a sample, then to improve the directions.
        progress: called after each block; an exception that it raises ends the work.

    Raises:
        ValueError: a batch is not such a matrix, or differs in channels, or K is out of range.
    """
    least = 0.0 if method == "nmf" else -math.inf
    signed = rectify or method != "nmf"

    def blocks() -> Iterator[Tensor]:
        return (block.clamp(min=0) if rectify else block for block in _blocks(batches(), signed))

    sample, rows = _sample(blocks(), lambda rows: progress(Progress(0, phases, rows, 1.0)))
    check_components(sample, components)
    h = factorize(sample, components, method=method).directions.double()
    seen: list[tuple[Tensor, Tensor]] = []  # by block, W_b'W_b and W_b'X_b
    squared_norm, before = 0.0, float("inf")
    curvatures, products = h.new_zeros(components, components), torch.zeros_like(h)
    for phase in range(1, phases):
        read, left, passed = 0, 0.0, 0.0
        for number, block in enumerate(blocks()):
            own = _gram(block, h)
            block_norm = _squared_norm(block)
            left += block_norm - 2 * float((own[1] * h).sum()) + float((own[0] * (h @ h.mT)).sum())
            passed, read = passed + block_norm, read + len(block)
            if phase == 1:  # H changes only when all blocks have been seen
                seen.append(own)
                curvatures, products = curvatures + own[0], products + own[1]
            else:
                curvatures, products = curvatures + own[0] - seen[number][0], products + own[1] - seen[number][1]
                seen[number] = own
                h = minimize_rows(h, products, curvatures, _SWEEPS, least)
            progress(Progress(phase, phases, read, (max(left, 0) / passed) ** 0.5 if passed else 0.0))
        squared_norm = passed
        if phase == 1:
            h = minimize_rows(h, products, curvatures, _SWEEPS, least)
        if before - left <= _TOLERANCE * left:
            break
        before = left
    if rectify:
        products, curvatures, squared_norm = _sums_as_it_is(_blocks(batches(), signed), h)
    return _arrange(h, products, curvatures, squared_norm, rows)


def _sums_as_it_is(blocks: Iterable[Tensor], h: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return W'X, W'W and ||X||^2, W being the minimizer for the clamped X."""
    products, curvatures, squared_norm = torch.zeros_like(h), h.new_zeros(len(h), len(h)), 0.0
    for block in blocks:
        w = fit_weights(block.clamp(min=0), h.float())
        products, curvatures = products + (w.mT @ block).double(), curvatures + w.double().mT @ w.double()
        squared_norm += _squared_norm(block)
    return products, curvatures, squared_norm


def _sample(blocks: Iterable[Tensor], progress: Callable[[int], None]) -> tuple[Tensor, int]:
    """Return up to _SAMPLE rows, evenly spaced, and the number of all rows."""
    kept: list[Tensor] = []
    rows, stride = 0, 1
    for block in blocks:
        kept.append(block[-rows % stride :: stride].clone())
        rows += len(block)
        progress(rows)
        while sum(map(len, kept)) > _SAMPLE:
            kept, stride = [torch.cat(kept)[::2].clone()], 2 * stride
    if not rows:
        raise ValueError("batches are empty: there is nothing to factorize")
    return torch.cat(kept), rows


def _blocks(batches: Iterable[Tensor], signed: bool) -> Iterator[Tensor]:
    """Check batches, and regroup their rows into blocks of _BLOCK rows."""
    waiting: list[Tensor] = []
    for batch in batches:
        check_matrix(batch, signed=signed)
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
    """Return ||X_b||^2, adding the rows' norms in float64: adding single numbers would first copy all to float64."""
    return float(torch.linalg.vector_norm(block, dim=1).double().square().sum())


def _gram(block: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Return W'W and W'X of a block, W being its minimizer."""
    w = fit_weights(block, h.float())
    return w.double().mT @ w.double(), (w.mT @ block).double()


def _arrange(h: Tensor, products: Tensor, curvatures: Tensor, squared_norm: float, rows: int) -> Basis:
    if squared_norm == 0:
        return Basis(h.float(), 0.0, h.new_zeros(len(h)).float(), rows)
    squared_lengths = h.square().sum(1)
    importance = (2 * (products * h).sum(1) - curvatures.diagonal() * squared_lengths) / squared_norm
    left = squared_norm - 2 * float((products * h).sum()) + float((curvatures * (h @ h.mT)).sum())
    order = importance.argsort(descending=True, stable=True)
    unit = h / torch.where(squared_lengths > 0, squared_lengths, 1).sqrt()[:, None]
    return Basis(unit[order].float(), (max(left, 0) / squared_norm) ** 0.5, importance[order].float(), rows)
