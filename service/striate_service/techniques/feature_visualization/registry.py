"""Objectives that users register by decorating a function, and request by name.

    @objective("center")
    def center(activations: Tensor, channel: int) -> Tensor:
        return activations[:, channel, 4:10, 4:10].mean((1, 2))

Workers import the modules of the setting `objectives`, and report the registered objectives to the server.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from striate_service.techniques.objective import Named, Signature, check_name

Score = Callable[[Tensor], Tensor]
"""From activations [B, C, H, W] to scores [B]; each picture maximizes its own."""
Function = TypeVar("Function", bound=Callable[..., Tensor])

_REQUEST_PARAMETERS = ("channel", "row", "column")  # given by requests; other parameters keep their defaults
_BUILT_IN = ("channel", "neuron")  # names of the client's own options


class ObjectiveError(Exception):
    """An objective that cannot be imported or computed. Its text tells the operator why."""


@dataclass(frozen=True)
class _Registered:
    signature: Signature
    function: Callable[..., Tensor]


_registered: dict[str, _Registered] = {}


def objective(name: str, *, version: int = 1) -> Callable[[Function], Function]:
    """Register a function of activations as an objective.

    The function takes the activations of one or more pictures, [B, C, H, W], and the keyword arguments `channel` and,
    optionally, `row` and `column`. It returns a score for each picture, [B], that does not depend on other pictures.

    Args:
        name: what requests and `Named` call it.
        version: change it with the code or the defaults, since stored icons are found by name and version.

    Raises:
        ValueError: the name is taken or not allowed, or the function does not take these parameters.
    """

    def register(function: Function) -> Function:
        check_name(name)
        if name in _BUILT_IN:
            raise ValueError(f"an objective cannot be called {name!r}: that one is built in")
        if name in _registered:
            former = _registered[name].function
            raise ValueError(f"two objectives are called {name!r}: {_location(former)} and {_location(function)}")
        _registered[name] = _Registered(Signature(name, version, _parameters(name, function)), function)
        return function

    return register


def import_objectives(modules: Iterable[str]) -> tuple[Signature, ...]:
    """Import modules that register objectives, and return all registered objectives, sorted by name.

    Raises:
        ObjectiveError: a module cannot be imported.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # whatever a module raises
            raise ObjectiveError(
                f"the module {module!r} of the setting `objectives` cannot be imported: {type(error).__name__}: {error}"
            ) from error
    return tuple(_registered[name].signature for name in sorted(_registered))


def score_of(named: Named) -> Score:
    """Return the function that an objective names, with its arguments.

    Raises:
        ObjectiveError: this version is not registered here.
    """
    registered = _registered.get(named.name)
    if registered is None or registered.signature.version != named.version:
        raise ObjectiveError(f"this worker has no version {named.version} of the objective {named.name!r}")
    function, arguments = registered.function, dict(named.arguments)

    def score(activations: Tensor) -> Tensor:
        scores = function(activations, **arguments)
        if not isinstance(scores, Tensor) or scores.shape != activations.shape[:1]:
            returned = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ObjectiveError(
                f"{named.name!r} should return scores of shape [{len(activations)}], one a picture, not {returned}"
            )
        if not scores.isfinite().all():
            raise ObjectiveError(f"{named.name!r} returned scores that are not finite")
        return scores

    return score


def _parameters(name: str, function: Callable[..., Tensor]) -> tuple[str, ...]:
    """Return those of channel, row and column that a function takes."""
    _, *parameters = inspect.signature(function).parameters.values()
    given = tuple(each.name for each in parameters if each.name in _REQUEST_PARAMETERS)
    required = {each.name for each in parameters if each.default is each.empty}
    if given not in (_REQUEST_PARAMETERS[:1], _REQUEST_PARAMETERS) or required - {*given}:
        raise ValueError(
            f"the objective {name!r} should take (activations, channel) or (activations, channel, row, column); "
            "further parameters need defaults"
        )
    return given


def _location(function: Callable[..., Tensor]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
