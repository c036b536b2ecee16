"""Groups' colours can be told apart, and an overlay shows where each group is."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from striate_service.techniques.palette import colours, overlay


def lightness(colour: np.ndarray) -> float:
    """CIE L* of an sRGB colour: another scale than the one that the colours were made on."""
    channels = colour / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return 116 * luminance ** (1 / 3) - 16


@pytest.mark.parametrize("count", [1, 2, 3, 6, 8, 12])
def test_colours_are_distinct_in_hue_and_alike_in_lightness(count: int) -> None:
    found = colours(count)
    assert len({tuple(colour) for colour in found}) == count
    assert np.ptp([lightness(colour) for colour in found]) < 12
    hues = sorted(colorsys.rgb_to_hsv(*(colour / 255))[0] for colour in found)
    if count > 1:
        gaps = np.diff([*hues, hues[0] + 1])
        assert gaps.min() > 0.25 / count


def test_an_overlay_has_each_groups_colour_where_it_is() -> None:
    spatial = np.zeros((2, 2, 2), np.float32)
    spatial[0, 0, 0] = spatial[1, 1, 1] = 1
    two = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    picture = overlay(np.full((40, 40, 3), 255, np.uint8), spatial, two, scale=1)
    assert picture[2, 2, 0] > 200
    assert picture[2, 2, 2] < 40
    assert picture[37, 37, 2] > 200
    assert np.ptp(picture[2, 37].astype(int)) <= 1, "grey where no group is"
