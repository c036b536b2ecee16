"""What an icon shows and how it is made: values that name a picture.

No torch here: the server's own process has them too.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field

import numpy as np


@dataclass(frozen=True)
class Channel:
    """Excite one channel everywhere: the mean of its activations over positions."""

    channel: int

    @property
    def text(self) -> str:
        """Its canonical name, by which icons are stored."""
        return f"channel:{self.channel}"


@dataclass(frozen=True)
class Direction:
    """Excite a direction in the space of channels everywhere."""

    components: tuple[float, ...] = field(repr=False)
    """[C]"""

    @property
    def text(self) -> str:
        """Its canonical name, by which icons are stored."""
        return f"direction:{hashlib.sha256(np.array(self.components, '<f4').tobytes()).hexdigest()}"


Objective = Channel | Direction


@dataclass(frozen=True)
class Recipe:
    """How an icon is optimized. Whatever changes pictures is a parameter here, or a new version.

    Ranges of the transformations are Lucid's (optvis/transform.py, `standard_transforms`).
    """

    name: str = "fourier"
    version: int = 2
    """Of the code that reads this recipe."""
    size: int = 128
    """Pixels of the icon's sides. The network sees it enlarged to its own input's size."""
    steps: int = 48
    learning_rate: float = 0.2
    """Of Adam at the last step. It rises from nearly 0 in a straight line: the first steps find what the neuron looks
    for in a nearly grey image, and the last ones bring it out. Lucid takes 512 steps at 0.05. At 1.0 and 32 steps
    SqueezeNet's features.12 is excited by a sixth more, by contrast that people find harder to read."""
    jitter: float = 6.0
    """Largest shift in the icon's pixels, either way: Lucid's 8 and then 4 choose among offsets of 0 to 12."""
    scale: float = 0.1
    """Largest change of size, either way, as a share."""
    rotation: float = 10.0
    """Largest turn in degrees, either way."""
    cosine_power: float = 1.0
    """A direction's objective is its dot product times this power of the cosine similarity."""
    seed: int = 0

    @property
    def text(self) -> str:
        """Its canonical description, by which icons are stored."""
        return ",".join(f"{name}={value}" for name, value in asdict(self).items())
