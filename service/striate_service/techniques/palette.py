"""Colors for neuron groups: distinct in hue, alike in lightness, so that no group looks more important than another.

Hues lie on a circle of OKLab (Ottosson 2020), a space in which equal steps look equal: its axis a goes from green to
red, b from blue to yellow. Red-green color blindness (one man in twelve, in some degree) removes nearly all of a, and
leaves b. So colors are evenly spaced in b and, for everybody else, alternate between the two signs of a. Simulated for
each missing cone type (Machado et al. 2009), the smallest difference of two colors in CIELAB is 9 among 8 colors and 7
among 12; for hues evenly spaced on the circle it is 1.4 and 2.8. A difference of 2.3 is just noticeable.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LIGHTNESS, _CHROMA = 0.74, 0.125  # about the largest chroma that sRGB has for every hue at this lightness
_TILT = np.radians(-4)  # from b to the axis that color blindness leaves; found by trial for 4 to 12 colors

_OKLAB_TO_LMS = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def colors(count: int) -> NDArray[np.uint8]:
    """Return `count` colors as sRGB, uint8 [count, 3]. Consecutive colors, seen side by side, are far apart: by half
    the range of b where there are more than two.
    """
    b = np.linspace(-1, 1, count) if count > 1 else np.zeros(1)
    a = np.sqrt(1 - b * b) * np.where(np.arange(count) % 2, -1, 1)
    turned = np.stack([a * np.cos(_TILT) - b * np.sin(_TILT), a * np.sin(_TILT) + b * np.cos(_TILT)])
    half = (count + 1) // 2
    order = np.stack([np.arange(half), np.arange(half) + half], axis=1).ravel()[:count]
    lab = np.stack([np.full(count, _LIGHTNESS), *_CHROMA * turned], axis=1)[order]
    linear = ((lab @ _OKLAB_TO_LMS.T) ** 3 @ _LMS_TO_RGB.T).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray((srgb * 255).round(), np.uint8)
