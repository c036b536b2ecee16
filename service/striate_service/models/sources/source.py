"""The protocol of a source of models. Each source is a module of this package; `__init__.py` lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import nn

from striate_service.config import ModelSettings
from striate_service.models.description import Preprocessing, Tokens
from striate_service.models.weights import StateDict, Weights


def _as_they_are(state: StateDict, _network: nn.Module) -> StateDict:
    return state


@dataclass(frozen=True)
class Architecture:
    """A network that can be built before its weights are loaded into it."""

    build: Callable[[Weights], nn.Module]
    """Takes the weights, whose shapes tell the number of classes."""
    unused_weights: tuple[str, ...] = ()
    """Prefixes of keys in state dicts that belong to modules which `build` leaves out."""
    translate: Callable[[StateDict, nn.Module], StateDict] = _as_they_are
    """Takes weights whose names may be of an older version of the source's library, and the network; returns them under
    its present names."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names of layers, by path."""
    tokens: Callable[[nn.Module], Tokens | None] = lambda _network: None
    """Takes the network; returns how its tokens lie. None: that is measured alone."""


@dataclass(frozen=True)
class Metadata:
    """What a source knows about a network besides its weights."""

    preprocessing: Preprocessing | None = None
    """None: unknown."""
    classes: tuple[str, ...] = ()
    """In the order of the logits. Empty: unknown."""


class Source(Protocol):
    """A library or a convention that networks come from. A module with these four functions is one.

    `load_model` calls them in this order. Whatever they raise becomes a `ModelError` that names the step.
    """

    def owns(self, model: ModelSettings, /) -> bool:
        """Return whether `model.architecture` is a name of this source. The first such source provides the network."""

    def find(self, model: ModelSettings, /) -> Architecture:
        """Return the architecture that `model.architecture` names, built with `model.arguments`.

        Raises:
            ModelError: there is no architecture of that name, or it cannot be imported.
        """

    def own_weights(self, model: ModelSettings, /) -> Weights | None:
        """Return this source's weights of the name `model.weights`; None if it has none.

        `load_model` asks all sources, whether or not they own the architecture, until one returns weights.

        Raises:
            ModelError: the name belongs to this source, but `model.architecture` has no such weights, or they cannot be
                downloaded.
        """

    def metadata(self, model: ModelSettings, weights: Weights, /) -> Metadata:
        """Return what this source knows about one of its networks with these weights."""
