"""Groups that are kept under a name."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from striate.results.groups import Group
from striate.results.icons import Icon, Illustrated
from striate.results.models import Model
from striate.results.shown import Shown


@dataclass(frozen=True)
class Basis(Illustrated):
    """Groups that are kept under a name, for one layer of one version of a model."""

    name: str
    model: Model
    layer: str
    components: int
    """The number of groups."""
    image_count: int
    """The number of images in which the groups were found."""
    relative_error: float
    """||X - W H|| / ||X|| over these images."""
    fit: str
    """How these images were brought to the model's input size: "crop", "stretch" or "pad"."""
    rectify: bool
    """Whether negative activations counted as 0."""
    created: datetime
    """UTC."""
    groups: list[Group] = field(default_factory=list, repr=False)
    """Empty in a list of bases."""
    directions: NDArray[np.float32] | None = field(default=None, repr=False)
    """[K, C]; None in a list of bases."""
    method: str = ""
    """How they were found: as `calls.options.Method` names it. Empty: a server of an earlier version does not say."""

    @property
    def icons(self) -> list[Icon]:
        """The groups' icons."""
        return [group.icon_file for group in self.groups]


@dataclass(frozen=True)
class BuildProgress(Shown):
    """How far the building of a basis is."""

    phase: str
    """ "reading": images go through the network; "factorizing"; "saved": the last report."""
    image_count: int
    """Images that have gone through the network."""
    total_images: int | None
    """The number of images in the server's folder, where it reads one."""
    progress: float
    """Of factorizing, 0 to 1."""
    skipped: list[tuple[str, str]]
    """(which, why) of images that could not be read, since the last report. An image is named by its number among those
    given, or by its path in the server's folder."""
    basis: Basis | None = None
    """In the last report: the basis, without its groups."""
