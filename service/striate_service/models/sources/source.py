"""What a source of models answers. Each source is a module of this package; `__init__.py` lists them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from striate_service.config import ModelSettings
from striate_service.models.description import Preprocessing
from striate_service.models.weights import Weights


@dataclass(frozen=True)
class Architecture:
    """A network that can be built before its weights are read."""

    build: Callable[[int], nn.Module]
    """From the number of classes. A network that has a fixed number of classes ignores it."""
    unused_weights: tuple[str, ...] = ()
    """Prefixes of keys in state dicts that belong to modules which `build` leaves out."""


@dataclass(frozen=True)
class Metadata:
    """What a source knows of a network besides its weights."""

    preprocessing: Preprocessing | None = None
    """None where the source does not know."""
    classes: tuple[str, ...] = ()
    """By logit. Empty where the source does not know."""


class Source(Protocol):
    """A library or a convention that networks come from. A module with these four functions is one.

    `load_model` calls them in this order.
    """

    def owns(self, model: ModelSettings, /) -> bool:
        """Say whether `model.architecture` is a name of this source's. The first source that owns a name gets it."""

    def find(self, model: ModelSettings, /) -> Architecture:
        """Return the architecture that `model.architecture` names.

        Raises:
            ModelError: where there is none of that name, or it cannot be imported.
        """

    def own_weights(self, model: ModelSettings, /) -> Weights | None:
        """Return the weights that this source provides under the name `model.weights`, or None if that is a file.

        All sources are asked, also those that do not own the architecture, until one does not return None.

        Raises:
            ModelError: where the name is this source's but there are no weights for `model.architecture`, or they
                cannot be fetched.
        """

    def metadata(self, model: ModelSettings, version: str, /) -> Metadata:
        """Return what this source knows of a network of its own.

        Args:
            version: of the network's weights.
        """
