"""From values to fields of requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from striate.calls.options import Fit, Method
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages


def enum_value(enum: Any, prefix: str, name: str, argument: str) -> Any:
    """Return the value of an enum whose name is PREFIX_NAME.

    Raises:
        ValueError: the enum has no such value. Names the argument and the values that there are.
    """
    known = [key.removeprefix(f"{prefix}_").lower() for key in list(enum.keys()) if not key.endswith("_UNSPECIFIED")]
    if name not in known:
        raise ValueError(f"{argument} is {name!r}; it should be one of {', '.join(known)}.")
    return enum.Value(f"{prefix}_{name.upper()}")


def method_value(method: Method | None) -> Any:
    """Return the value of a method; None where the server is to choose."""
    return (
        None if method is None else enum_value(messages.FactorizationMethod, "FACTORIZATION_METHOD", method, "method")
    )


def fit_value(fit: Fit) -> Any:
    return enum_value(pb.Fit, "FIT", fit, "fit")


def position_messages(positions: Sequence[tuple[int, int]] | None) -> list[messages.Position]:
    return [messages.Position(row=row, column=column) for row, column in positions or ()]


def layer_names(layers: str | Sequence[str]) -> list[str]:
    """Return one layer, or several, as a list."""
    return [layers] if isinstance(layers, str) else list(layers)
