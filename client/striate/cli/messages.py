"""What went wrong, in the words of the command line: flags and files, where a request has fields."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from typer.models import OptionInfo

from striate.errors import InternalError, InvalidArgument, NotFound, StriateError

_NAMES = {"sobol_points": "sobol", "objective_name": "objective", "text": "name", "layer": "layers", "basis": "name"}
"""Of a command's parameters, by fields of requests, where they differ."""
_LISTING = {"layer": "striate models --layers", "model": "striate models", "basis": "striate bases list"}
"""What lists those that there are."""
_ELEMENT = re.compile(r"(\w+)(?:\[(\d+)\])?")


def in_words_of(error: StriateError, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]) -> str:
    """Return what an error says to whoever has typed a command.

    Args:
        parameters: those of the command's function.
        given: their values.
    """
    if isinstance(error, InvalidArgument) and error.violations:
        return "; ".join(
            f"{_what(field, parameters, given)} {problem}" for field, problem in error.violations.items()
        ).removesuffix(".")
    if isinstance(error, NotFound) and error.kind in _LISTING and "did you mean" not in str(error):
        return f"{error}; `{_LISTING[error.kind]}` lists them"
    if isinstance(error, InternalError) and error.request_id:
        return f"{error} (request {error.request_id})"
    return str(error)


def _what(field: str, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]) -> str:
    """Return the file or flag that a field, such as "images.images[2]" or "position.row", was filled from."""
    for name, index in reversed(_ELEMENT.findall(field)):
        if name in ("image", "images") and (file := _file(given, int(index or 0))):
            return file
        for known in (name, _NAMES.get(name, "")):
            if known in parameters:
                return _spoken(known, parameters[known])
    return field


def _file(given: Mapping[str, Any], index: int) -> str:
    photos = given.get("photos") or [given["photo"]] if "photo" in given or "photos" in given else []
    return str(Path(photos[index])) if index < len(photos) else ""


def _spoken(name: str, parameter: inspect.Parameter) -> str:
    """Return a parameter's flag, or an argument's name."""
    for info in get_args(parameter.annotation):
        if isinstance(info, OptionInfo):
            written = (info.default, *(info.param_decls or ()))  # in Annotated, Typer takes the first one for a default
            flags = [flag for flag in written if isinstance(flag, str) and flag.startswith("--")]
            return flags[0] if flags else f"--{name.replace('_', '-')}"
    return name
