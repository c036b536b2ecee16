"""Textures: gray tiles of fur, stripes, spots, scales and the like, which modulate the color of a surface."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

KINDS = ("fur", "grain", "clouds", "stripes", "spots", "plaid", "wood", "scales", "feathers", "bricks", "leaves")
_SIZE = 224
_VARIANTS = 4  # tiles of each kind; random crops and flips of them add variety


def crop(rng: np.random.Generator, kind: str, height: int, width: int) -> Array:
    """Return a random piece of a texture: float32 [height, width], with a mean of about 0 and values from -1 to 1."""
    tile = _tile(kind, int(rng.integers(_VARIANTS)))
    top, left = int(rng.integers(_SIZE - height + 1)), int(rng.integers(_SIZE - width + 1))
    piece = tile[top : top + height, left : left + width]
    return piece[:, ::-1] if rng.random() < 0.5 else piece


@cache
def _tile(kind: str, variant: int) -> Array:
    rng = np.random.default_rng([KINDS.index(kind), variant])
    tile = _PAINTERS[kind](rng)
    tile = tile - tile.mean()
    return np.asarray(tile / np.abs(tile).max(), dtype=np.float32)


def _noise(rng: np.random.Generator, low: float, high: float, stretch: float = 1.0, angle: float = 0.0) -> Array:
    """Return noise of wavelengths from `low` to `high` pixels; features are `stretch` times longer along `angle`."""
    v, u = np.meshgrid(np.fft.fftfreq(_SIZE), np.fft.rfftfreq(_SIZE), indexing="ij")
    along, across = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
    frequency = np.hypot(along * stretch, across)
    band = np.exp(-((frequency * low) ** 2)) * (1 - np.exp(-((frequency * high) ** 2)))
    spectrum = np.fft.rfft2(rng.standard_normal((_SIZE, _SIZE))) * band
    noise = np.fft.irfft2(spectrum, (_SIZE, _SIZE))
    return np.asarray(np.tanh(noise / noise.std() / 1.5), dtype=np.float32)


def _grid() -> tuple[Array, Array]:
    y, x = np.mgrid[:_SIZE, :_SIZE].astype(np.float32)
    return y, x


def _fur(rng: np.random.Generator) -> Array:
    return _noise(rng, 2.0, 40, stretch=5, angle=np.pi / 2 + rng.normal(0, 0.5)) + 0.4 * _noise(rng, 10, 80)


def _grain(rng: np.random.Generator) -> Array:
    return _noise(rng, rng.uniform(1.5, 3), 12)


def _clouds(rng: np.random.Generator) -> Array:
    return _noise(rng, rng.uniform(10, 24), 200)


def _stripes(rng: np.random.Generator) -> Array:
    y, x = _grid()
    angle, period = rng.uniform(0, np.pi), rng.uniform(7, 14)
    phase = (x * np.cos(angle) + y * np.sin(angle)) / period * 2 * np.pi
    return np.asarray(np.tanh(2.5 * np.sin(phase + 1.8 * _noise(rng, 16, 120))), dtype=np.float32)


def _spots(rng: np.random.Generator) -> Array:
    return np.asarray(np.tanh(4 * (_noise(rng, rng.uniform(5, 9), 18) - 0.35)), dtype=np.float32)


def _plaid(rng: np.random.Generator) -> Array:
    y, x = _grid()
    period = rng.uniform(8, 16)
    columns, rows = np.sin(2 * np.pi * x / period) > 0.3, np.sin(2 * np.pi * y / period) > 0.3
    return np.asarray(columns, np.float32) + np.asarray(rows, np.float32)


def _wood(rng: np.random.Generator) -> Array:
    y, _ = _grid()
    boards = np.where(y % rng.uniform(14, 24) < 1.3, -2.5, 0)
    return np.asarray(boards + _noise(rng, 2, 60, stretch=10), dtype=np.float32)


def _scales(rng: np.random.Generator) -> Array:
    y, x = _grid()
    size = rng.uniform(6, 9)
    row = np.floor(y / size)
    across = (x / size / 1.3 + 0.5 * (row % 2)) % 1 - 0.5
    return np.asarray(1 - np.hypot(1.6 * across, (y / size) % 1) ** 2, dtype=np.float32)


def _feathers(rng: np.random.Generator) -> Array:
    return np.asarray(_scales(rng).T[::-1] + 0.5 * _noise(rng, 2, 20, stretch=4), dtype=np.float32)


def _bricks(rng: np.random.Generator) -> Array:
    y, x = _grid()
    height, width = rng.uniform(6, 9), rng.uniform(13, 18)
    row = np.floor(y / height)
    column = np.floor(x / width + 0.5 * (row % 2))
    mortar = ((y % height) < 1.2) | ((x + 0.5 * width * (row % 2)) % width < 1.2)
    shade = np.sin(row * 12.9898 + column * 78.233) * 0.5
    return np.asarray(np.where(mortar, 1.5, shade), dtype=np.float32)


def _leaves(rng: np.random.Generator) -> Array:
    return np.asarray(np.sign(_noise(rng, 4, 14)) * 0.5 + _noise(rng, 3, 20), dtype=np.float32)


_PAINTERS = {
    "fur": _fur,
    "grain": _grain,
    "clouds": _clouds,
    "stripes": _stripes,
    "spots": _spots,
    "plaid": _plaid,
    "wood": _wood,
    "scales": _scales,
    "feathers": _feathers,
    "bricks": _bricks,
    "leaves": _leaves,
}
