"""Measure how a layer's output holds a map: a patch is moved over an image, and a map changes most where the patch is.

A network that mixes all positions (attention) changes everywhere, but each position changes more when the patch is at
it than when the patch is elsewhere. So a change is compared with the changes of the same position for the other places
of the patch, and a layout is taken if, for nearly all places, the position that stands out is the patch's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from striate_service.models.description import LayerDescription, Layout, Tokens
from striate_service.models.layouts import to_map

_PLACES = ((1 / 6, 1 / 6), (1 / 6, 5 / 6), (5 / 6, 1 / 6), (5 / 6, 5 / 6)) * 2
"""Where the patch's center is, as shares of height and width: each corner for two patches. Between the corners a late
layer cannot tell places apart: a kernel of 7 x 7 on a map of 7 x 7 sees all of them."""
_PATCH = 1 / 5
"""The patch's sides, as a share of the image's."""
_SLACK = 0.15
"""How far from the patch's center, as a share of the image's side, the nearest edge of the position may be. The chance
that a position at random is as near is a tenth on a large grid, and a quarter on one of 2 x 2."""
_SMALL, _SMALL_SLACK = 6, 0.2
"""The same for so many rows or columns and fewer, each of which sees much of the image: there the next one will do."""
_CELLS = (3, 16)
"""Rows and columns that a map is averaged to, at most: the corners and what is between them, and finer, where what
stands out by chance is elsewhere."""
_WEIGHTS = (2, 1)
"""Of a place that is found, in each resolution: the coarse one is the surer."""
_LEAST_SCORE = 20
"""Of 24. Measured on networks with random weights: convolutions and tokens reach 20 and more, most of them 24; queries
and keys by heads 17, attention weights 12, channels taken for positions 15."""
_MOST_CHANNELS = 32
"""Channels that are looked at: more say the same, and take longer than the network itself."""
_MOST_PREFIX_TOKENS = 16
"""More tokens before the positions than any vision transformer has."""


def probe_images(input_shape: Sequence[int]) -> Tensor:
    """Return images to measure with, normalized: one of noise, and the same with a patch at each place.

    Args:
        input_shape: [C, H, W].
    """
    channels, height, width = input_shape
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(channels, height, width, generator=generator)
    sides = [max(1, round(extent * _PATCH)) for extent in (height, width)]
    patches = 2 * torch.randn(2, channels, *sides, generator=generator)
    images = base.repeat(1 + len(_PLACES), 1, 1, 1)
    for number, (y, x) in enumerate(_PLACES):
        top, left = round(y * height - sides[0] / 2), round(x * width - sides[1] / 2)
        images[1 + number, :, top : top + sides[0], left : left + sides[1]] += patches[number // 4]
    return images


def other_image(input_shape: Sequence[int]) -> Tensor:
    """Return an image unlike the probes: brighter, with more contrast."""
    return 3 * torch.randn(*input_shape, generator=torch.Generator().manual_seed(1)) + 2


@dataclass(frozen=True)
class Measured:
    layout: Layout
    grid: tuple[int, int] = (0, 0)
    prefix: int = 0
    """How many tokens are before the first position."""


def measure(outputs: Tensor, input_size: tuple[int, int], told: Tokens | None = None) -> Measured:
    """Return how a layer's outputs hold a map.

    Args:
        outputs: of `probe_images`, [1 + places, *layer shape].
        input_size: height and width of the images.
        told: how tokens lie, where the network's source tells: of what the probes allow, the likeliest.
    """
    candidates = list(_candidates(outputs.shape[1:], input_size, told))
    if not candidates:
        return Measured(Layout.NONE)
    for each in candidates:
        if each.grid == (1, 1):  # one position: there is nothing to tell apart
            return each
    scores = [_score(outputs, each) for each in candidates]
    # Grids of nearly the same extents pass alike: the first is the likeliest.
    passing = [each for each, score in zip(candidates, scores, strict=True) if score >= _LEAST_SCORE]
    return passing[0] if passing else Measured(Layout.NONE)


def _candidates(shape: Sequence[int], input_size: tuple[int, int], told: Tokens | None) -> Iterator[Measured]:
    """Yield the ways in which an output of this shape can hold a map, the likelier ones first."""
    match tuple(shape):
        case (_,):
            yield Measured(Layout.VECTOR, (1, 1))
        case (tokens, _):
            of_source = [told.grid] if told and _fits(told, tokens) else []
            for rows, columns in dict.fromkeys([*of_source, *_grids(tokens, input_size)]):
                yield Measured(Layout.TOKENS, (rows, columns), tokens - rows * columns)
        case (first, second, third):
            yield Measured(Layout.CHW, (second, third))
            yield Measured(Layout.HWC, (first, second))


def _fits(told: Tokens, tokens: int) -> bool:
    left = tokens - told.grid[0] * told.grid[1]
    return 0 <= left <= _MOST_PREFIX_TOKENS if told.prefix is None else left == len(told.prefix)


def _grids(tokens: int, input_size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield grids of square patches of the image that leave few tokens over; those of its proportions first, and of
    these the largest."""
    height, width = input_size
    least = tokens - min(_MOST_PREFIX_TOKENS, tokens // 2)
    mismatches = {
        (rows, columns): abs(columns - rows * width / height)
        for rows in range(tokens, 0, -1)
        for columns in range(-(-least // rows), tokens // rows + 1)
    }
    yield from (grid for grid in sorted(mismatches, key=mismatches.__getitem__) if mismatches[grid] < 1)


def _score(outputs: Tensor, candidate: Measured) -> int:
    """Return how often the position that stands out is the patch's, 0 to 24."""
    slack = torch.tensor([_SMALL_SLACK if extent <= _SMALL else _SLACK for extent in candidate.grid])
    hits = (_distances(outputs, candidate) <= slack).all(2).sum(1)
    return int(hits @ torch.tensor(_WEIGHTS))


def _distances(outputs: Tensor, candidate: Measured) -> Tensor:
    """Return how far from each place of the patch the position lies that stands out, [resolutions, places, 2]: down and
    across.

    A distance is from the patch's center to the position's nearest edge, as a share of the image's side; below 0 where
    the center is within the position.

    Args:
        outputs: [1 + places, *layer shape].
    """
    layer = LayerDescription(
        "", "", tuple(outputs.shape[1:]), (), candidate.layout, candidate.grid, ("",) * candidate.prefix
    )
    maps = to_map(outputs, layer)
    maps = maps[:, :: -(-maps.shape[1] // _MOST_CHANNELS)].float()
    changes = (maps[1:] - maps[0]).abs()
    usual = changes.square().mean((0, 2, 3), keepdim=True).sqrt()  # so that no few channels outvote the others
    by_position = (changes / usual.clamp(min=torch.finfo(maps.dtype).tiny)).mean(1)
    rows, columns = candidate.grid
    return torch.stack([_distances_of_cells(by_position, (min(rows, most), min(columns, most))) for most in _CELLS])


def _distances_of_cells(by_position: Tensor, cells: tuple[int, int]) -> Tensor:
    """Return the distances [places, 2] for a map of so many rows and columns, from changes [places, rows, columns]."""
    by_cell = functional.adaptive_avg_pool2d(by_position, cells)
    mean = by_cell.mean(0)
    standing_out = (by_cell / (mean + mean.mean()).clamp(min=torch.finfo(mean.dtype).tiny)).flatten(1)
    cell = standing_out.argmax(1).cpu()
    rows, columns = torch.tensor(cells)
    centers = torch.stack([(cell // columns + 0.5) / rows, (cell % columns + 0.5) / columns], dim=1)
    half = torch.stack([0.5 / rows, 0.5 / columns])
    return (centers - torch.tensor(_PLACES)).abs() - half
