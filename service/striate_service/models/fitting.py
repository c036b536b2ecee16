"""Put weights into a network: prefixes of training frameworks, tied weights, and what is wrong with the rest."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Collection, Sequence

from torch import nn

from striate_service.models.errors import ModelError
from striate_service.models.weights import StateDict, Weights

_SHOWN = 3
_OPTIONAL = ("num_batches_tracked", "_extra_state")
"""What a network in evaluation mode does not use."""
_WRAPPERS = re.compile(r"(?:^|(?<=\.))_orig_mod\.")
"""What torch.compile puts before the names of what it wraps, anywhere in a network."""
_PREFIXES = re.compile(r"(?:(?:module|model|backbone)\.)+")
"""Of DataParallel, Lightning and the like, which are stripped before any other."""


def load_into(network: nn.Module, weights: Weights, called: str) -> None:
    """Load weights into the network that they belong to, which then computes in float32.

    Args:
        called: the architecture, for errors.

    Raises:
        ModelError: names or shapes differ, or the weights are quantized or not numbers.
    """
    state, own = fitted(weights.state, network.state_dict().keys()), network.state_dict(keep_vars=True)
    _check_values(state, own, weights.others)
    if not hasattr(state, "_metadata") and state.keys() == own.keys():
        # Modules translate state dicts of older versions of themselves by these; safetensors does not keep them.
        state = OrderedDict(state)
        state._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    try:
        found = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        shapes = [name for name in state if name in own and own[name].shape != state[name].shape]
        if not shapes:
            raise
        missing, unknown = [name for name in own if name not in state], [name for name in state if name not in own]
        raise _unfit(called, missing, unknown, _of_shape(shapes, own, state)) from error
    own = network.state_dict(keep_vars=True)  # a module may build itself anew for weights of an older version
    loaded = {id(tensor) for name, tensor in own.items() if name not in found.missing_keys}
    missing = [name for name in found.missing_keys if name in own and id(own[name]) not in loaded]  # of several names
    missing = [name for name in missing if not name.endswith(_OPTIONAL)]
    if missing or found.unexpected_keys:
        raise _unfit(called, missing, found.unexpected_keys)
    network.float()


def _unfit(called: str, missing: Sequence[str], unknown: Sequence[str], shapes: str = "") -> ModelError:
    problems = (
        f"{len(missing)} are missing ({_some(missing)})" if missing else "",
        f"{len(unknown)} are not its own ({_some(unknown)})" if unknown else "",
        shapes,
    )
    return ModelError(f"the weights do not fit {called}: {', '.join(filter(None, problems))}.")


def fitted(state: StateDict, expected: Collection[str]) -> StateDict:
    """Return weights under the names that a network expects, without prefixes; as they are if no prefix fits."""
    names = set(expected)
    if not names or names <= state.keys():
        return state
    bare = _renamed(state, {name: _WRAPPERS.sub("", name) for name in state})
    if names <= bare.keys():
        return bare
    prefixes = [prefix for prefix in _prefixes(bare, names) if all(f"{prefix}{name}" in bare for name in names)]
    known = [prefix for prefix in prefixes if _PREFIXES.fullmatch(prefix)]
    chosen = known or prefixes
    if len(chosen) > 1:
        raise ModelError(
            f"the weights hold the network several times, under {', '.join(sorted(chosen))}: save one of them."
        )
    if not chosen:  # the error over what is missing should not be of the wrappers' names
        every = _common_prefix(bare)
        return _renamed(bare, {name: name.removeprefix(every) for name in bare})
    return _renamed(bare, {name: name.removeprefix(chosen[0]) for name in bare if name.startswith(chosen[0])})


def without(state: StateDict, prefixes: tuple[str, ...]) -> StateDict:
    """Return weights without those of modules that a network leaves out, under whatever prefix."""
    every = _common_prefix(state)
    return _renamed(state, {name: name for name in state if not name.removeprefix(every).startswith(prefixes)})


def _prefixes(state: StateDict, expected: set[str]) -> list[str]:
    """Return what could stand before every name: it stands before the longest, the least likely to be one by chance."""
    longest = max(expected, key=lambda name: (len(name), name))
    return [name.removesuffix(longest) for name in state if name.endswith(f".{longest}")]


def _common_prefix(state: StateDict) -> str:
    found = _PREFIXES.match(next(iter(state), ""))
    prefix = found[0] if found else ""
    return prefix if all(name.startswith(prefix) for name in state) else ""


def _renamed(state: StateDict, names: dict[str, str]) -> StateDict:
    """Return some of the weights under new names, and the versions of their modules too."""
    renamed: StateDict = OrderedDict((new, state[old]) for old, new in names.items())
    metadata = getattr(state, "_metadata", None)
    if metadata is not None and names:
        old, new = next(iter(names.items()))
        prefix = old.removesuffix(new) if old.endswith(new) else ""
        renamed._metadata = {  # type: ignore[attr-defined]
            _WRAPPERS.sub("", f"{path}."[len(prefix) :]).removesuffix("."): version
            for path, version in metadata.items()
            if f"{path}.".startswith(prefix)
        }
    return renamed


def _check_values(state: StateDict, own: StateDict, others: Sequence[str]) -> None:
    for name, value in state.items():
        is_number = value.is_floating_point() and value.element_size() > 1  # 8 bits need a scale that is elsewhere
        if name in own and own[name].is_floating_point() and not is_number:
            raise ModelError(f"the weights are quantized ({name} is {value.dtype}): serve those they were made from.")
    broken = [name for name, value in state.items() if value.is_floating_point() and bool(value.isnan().any())]
    if broken:
        advice = f" The checkpoint also holds {others[0]}: serve FILE#{others[0]}." if others else ""
        raise ModelError(f"{len(broken)} of the weights hold NaN ({_some(broken)}).{advice}")


def _some(names: Sequence[str]) -> str:
    short = [name if len(name) <= 40 else f"...{name[-37:]}" for name in names[:_SHOWN]]
    return ", ".join(short) + (", ..." if len(names) > _SHOWN else "")


def _of_shape(names: Sequence[str], own: StateDict, state: StateDict) -> str:
    first = names[0]
    return (
        f"{len(names)} of other shapes ({first} is {list(state[first].shape)} and should be {list(own[first].shape)})"
    )
