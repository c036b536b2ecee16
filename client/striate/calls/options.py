"""Options that several calls have, each documented once. A call inherits those that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from striate.calls.targets import Target
from striate.errors import InvalidArgument

Fit = Literal["crop", "stretch", "pad"]
Method = Literal["auto", "nmf", "semi_nmf", "pca", "fast_ica", "k_means", "dictionary_learning"]

_LARGEST = 2**32 - 1
"""Of the numbers in requests, which have 32 bits."""


@dataclass(frozen=True, kw_only=True)
class ModelOption:
    """Options of a call about one model."""

    model: str = ""
    """The model's name; empty: the server's default model."""

    def __post_init__(self) -> None:
        """Check every number, since protobuf's own error names no field.

        Raises:
            InvalidArgument: a count, channel or position is negative, or larger than any can be.
        """
        for option in fields(self):
            for value in _numbers(getattr(self, option.name)):
                if not 0 <= value <= _LARGEST:
                    problem = f"holds {value}; it should be 0 to {_LARGEST}."
                    raise InvalidArgument(f"{option.name}: {problem}", {option.name: problem})


@dataclass(frozen=True, kw_only=True)
class ImageOptions(ModelOption):
    """Options of a call that runs images through a model."""

    fit: Fit = "crop"
    """How an image is brought to the model's input size. "crop": resize the shorter side and cut out the center, as the
    model was evaluated; "stretch": resize both sides, which distorts the image; "pad": resize the longer side and fill
    up with the model's mean color."""


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """Options of a call that finds groups."""

    method: Method | None = None
    """How groups are found; "auto" by default: "nmf" where activations are non-negative, or are rectified, else
    "semi_nmf". Strengths of groups by "pca" and "fast_ica" may be negative."""
    rectify: bool = False
    """Count negative activations as 0, and use "nmf". Errors and effects are still those of the layer as it is."""


@dataclass(frozen=True, kw_only=True)
class RecipeOption:
    """The option of a call that has icons rendered."""

    recipe: str = ""
    """How icons are made: "fourier", "soft" or "maco"; empty: as the server is set up."""


@dataclass(frozen=True, kw_only=True)
class IconOptions:
    """Options of a call whose reply has icons."""

    wait_for_icons: bool = False
    """Wait until missing icons are rendered. False: answer at once; the result's own `wait_for_icons` fills them in."""
    icons: bool = True
    """False: neither send icons nor render any."""

    @property
    def waits_for_icons(self) -> bool:
        """Whether the call may wait for icons, and so take long."""
        return self.icons and self.wait_for_icons


@dataclass(frozen=True, kw_only=True)
class ExplanationOptions(ImageOptions, IconOptions, RecipeOption):
    """Options of a call that explains images by neurons or groups, with icons and effects on classes."""

    classes: int | Sequence[str] | None = None
    """Give effects on so many of the most probable classes, 5 by default, or on classes by name."""
    smooth_max_pool: bool = False
    """Let effects pass max pools that follow the layer by a gradient of which every positive activation of a window has
    a share, by its square. Max pooling's own gives all to the largest, so that a neuron that loses by a hair reads 0 on
    every class."""
    targets: Target | Sequence[Target] = field(default=(), repr=False)
    """Give effects on these instead: `Class`, `Output`, `Region`, `Embedding`, `Box`, as far as the model has them
    (`Model.target_kinds`)."""

    @property
    def class_count(self) -> int | None:
        """The number of most probable classes, where that is given."""
        return self.classes if isinstance(self.classes, int) else None

    @property
    def class_names(self) -> Sequence[str]:
        """The classes, where they are given by name."""
        if isinstance(self.classes, str):
            return [self.classes]
        return () if self.classes is None or isinstance(self.classes, int) else self.classes


def _numbers(value: Any) -> list[int]:
    """Return the integers of an option: itself, those in a sequence, or those in a sequence of pairs."""
    if isinstance(value, int):
        return [value]
    return [number for each in value for number in _numbers(each)] if isinstance(value, list | tuple) else []
