"""Groups' colors can be told apart, and an overlay shows where each group is."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from striate.show.overlays import overlay
from striate_service.techniques.palette import colors


def lightness(color: np.ndarray) -> float:
    """CIE L* of an sRGB color: another scale than the one that the colors were made on."""
    channels = color / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return 116 * luminance ** (1 / 3) - 16


# What people who lack one kind of cone see, on linear RGB (Machado, Oliveira and Fernandes 2009, table 1).
SIGHT = {
    "trichromat": np.eye(3),
    "protanope": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranope": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def cielab(found: np.ndarray, sight: np.ndarray) -> np.ndarray:
    """CIELAB of sRGB colors as someone sees them: another space than the one that the colors were made in."""
    channels = found / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    ratios = (linear @ sight.T).clip(0, 1) @ XYZ.T / XYZ.sum(1)
    x, y, z = np.where(ratios > 216 / 24389, np.cbrt(ratios), (24389 / 27 * ratios + 16) / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize(("count", "least"), [(2, 80), (3, 40), (4, 15), (6, 9), (8, 8), (12, 6)])
def test_colors_can_be_told_apart_whatever_cones_one_has(count: int, least: float, sight: str) -> None:
    """A difference of 2.3 in CIELAB is just noticeable (Mahy et al. 1994)."""
    seen = cielab(colors(count), SIGHT[sight])
    distances = np.linalg.norm(seen[:, None] - seen, axis=-1)[np.triu_indices(count, 1)]
    assert distances.min() > least


@pytest.mark.parametrize("count", [1, 2, 3, 6, 8, 12, 64])
def test_colors_are_distinct_and_alike_in_lightness(count: int) -> None:
    found = colors(count)
    assert len({tuple(color) for color in found}) == count
    assert np.ptp([lightness(color) for color in found]) < 12
    hues = [colorsys.rgb_to_hsv(*(color / 255))[0] for color in found]
    assert len({round(hue, 4) for hue in hues}) == count


def test_an_overlay_has_each_groups_color_where_it_is() -> None:
    spatial = np.zeros((2, 2, 2), np.float32)
    spatial[0, 0, 0] = spatial[1, 1, 1] = 1
    two = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    picture = overlay(np.full((40, 40, 3), 255, np.uint8), spatial, two, scale=1)
    assert picture[2, 2, 0] > 200
    assert picture[2, 2, 2] < 40
    assert picture[37, 37, 2] > 200
    assert np.ptp(picture[2, 37].astype(int)) <= 1, "grey where no group is"
