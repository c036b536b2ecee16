"""Recipes: how an icon is made. The store finds an icon by its recipe and its objective (objective.py).

This module imports no torch: the server's process uses it too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class _Described:
    @property
    def text(self) -> str:
        """Its canonical description, by which icons are stored."""
        return ",".join(f"{name}={value}" for name, value in asdict(self).items() if value is not None)


@dataclass(frozen=True)
class Fourier(_Described):
    """Optimize all Fourier coefficients of an image. A change that alters pictures needs a parameter or a new version.

    Ranges of the transformations are Lucid's (optvis/transform.py, `standard_transforms`).
    """

    name: str = "fourier"
    version: int = 4
    """Of the code that reads this recipe."""
    size: int = 128
    """The icon's side in pixels. The network sees it enlarged to the input size."""
    steps: int = 64
    learning_rate: float = 0.6
    """Of Adam at the last step. It rises linearly from nearly 0: the first steps find the pattern in a nearly grey
    image, and the last ones raise its contrast. SqueezeNet's features.7 and features.12 are then excited as much as by
    Lucid's 512 steps at 0.05."""
    contrast: float | None = 1.6
    """Root mean square of the logits of colors at most: the whole image is scaled down towards it, however far the
    optimizer goes. In SqueezeNet's features.7, 1 % of the pixels are then nearly black or white in a channel (at most 5
    or at least 250). None: without limit, where a third of them are."""
    jitter: float = 6.0
    """Largest shift in the icon's pixels, either way: Lucid's 8 and then 4 choose among offsets of 0 to 12."""
    scale: float = 0.1
    """Largest change of size, either way, as a share."""
    rotation: float = 10.0
    """Largest turn in degrees, either way."""
    cosine_power: float = 1.0
    """At each position, the activations' dot product with a direction counts times this power of their cosine
    similarity; a channel is a direction too. At 0 a quarter of the icons of SqueezeNet's features.7 excite another
    channel more (relative to natural images); at 1 one of 16 does."""
    seed: int = 0


@dataclass(frozen=True)
class Maco(_Described):
    """Optimize only the phases of an image whose magnitudes are those of natural images (Fel et al. 2023, MACO).

    The spectrum is that of natural images, so no other prior is needed, even for large networks. Pixels that do not
    matter to the neuron become transparent.
    """

    name: str = "maco"
    version: int = 2
    """Of the code that reads this recipe."""
    size: int = 128
    """The icon's side in pixels."""
    steps: int = 96
    learning_rate: float = 0.25
    """About how many radians Adam changes a phase by at the first step. It falls to 0 along half a cosine."""
    slope: float = 1.25
    """The amplitude of spatial frequency f is 1 / f ** slope. It is about 1 in natural scenes (Field 1987) and steeper
    in photographs that are resampled to an icon's size: 1.2 to 1.4 in 280 crops of 7 photographs. At 1.0 grain covers
    the picture; at 1.25 it is easier to read."""
    contrast: float = 1.2
    """Standard deviation of the logits of colors; that of the colors is then 0.23, as in ImageNet."""
    widest: float = 1.0
    """The side of the random crops at the first step, as a share of the icon's."""
    narrowest: float = 0.7
    """The same at the last step. The side falls linearly in between."""
    noise: float = 0.1
    """Standard deviation of the noise added to crops, for colors from 0 to 1. It falls linearly to 0."""
    cosine_power: float = 1.0
    """As Fourier's."""
    seed: int = 0


Recipe = Fourier | Maco

PREVIEW_STEPS = 16
"""After so many steps an icon shows what it will be: the optimizer has found the pattern, and refines it afterwards."""

SOFT = Fourier(name="soft", version=3, steps=48, learning_rate=0.2, contrast=None)
"""Fewer and smaller steps, for small and for adversarially trained networks, whose icons more would clutter. Icons ship
by it, so its text must not change."""

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (Fourier(), SOFT, Maco())}
"""The recipes that callers can choose, by name."""
