"""Read state dicts from files: safetensors, also in parts; .pth and .bin; checkpoints of training scripts."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from striate_service.models.errors import ModelError, in_short
from striate_service.models.weight_files import check_is_no_object, check_is_weights, is_safetensors

StateDict = dict[str, Tensor]

_IN_CHECKPOINTS = (
    "state_dict",
    "model_state_dict",
    "model",
    "ema",
    "state_dict_ema",
    "params_ema",
    "model_ema",
    "ema_state_dict",
    "params",
    "net",
    "network",
    "module",
)
"""The keys under which training scripts store weights, in the order of looking for them. `FILE#KEY` chooses."""


@dataclass(frozen=True)
class Weights:
    state: StateDict
    """With torch's `_metadata`, the versions of modules, where the file has it."""
    file: Path | None = None
    """The file that holds all of it; None: there is no such file."""
    others: tuple[str, ...] = ()
    """Keys under which the checkpoint holds other weights, such as averaged ones."""
    are_built: bool = False
    """The network comes with its weights; `state` is empty."""


def read_weights(text: str) -> Weights:
    """Return the weights in a file, which may be a checkpoint, or the index of a file in parts.

    Args:
        text: the path; after a "#", the key of a checkpoint whose weights are meant.

    Raises:
        ModelError: there is no such file, it cannot be read, or holds no state dict.
    """
    path, _, key = text.rpartition("#") if "#" in text and not Path(text).expanduser().is_file() else (text, "", "")
    file = Path(path).expanduser()
    if not file.is_file():
        raise ModelError(f"there is no weights file {path}.")
    try:
        return _read_index(file) if file.name.endswith(".index.json") else _chosen(_read(file), file, key)
    except OSError as error:
        raise ModelError(f"{file.name} cannot be read: {error.strerror or error}.") from error


def file_version(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _read(file: Path) -> Any:
    check_is_weights(file)
    try:
        if is_safetensors(file):
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types of exceptions over damaged files
        check_is_no_object(file, _IN_CHECKPOINTS)
        raise ModelError(
            f"{file.name} cannot be read as weights ({in_short(error, 120)}). It should be a state dict, saved by "
            "torch.save(model.state_dict(), path) or by safetensors."
        ) from error


def _read_index(index: Path) -> Weights:
    """Read weights in parts, as Hugging Face's libraries save large ones."""
    try:
        parts = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{index.name} is no index of weights in parts (it should have a weight_map).") from error
    state: StateDict = OrderedDict()
    for part in parts:
        file = index.parent / part
        if Path(part).name != part or not file.is_file():
            raise ModelError(f"{index.name} names {part}, which is not beside it.")
        state |= _chosen(_read(file), file, "").state
    return Weights(state)


def _chosen(held: Any, file: Path, key: str) -> Weights:
    """Return the weights in what a file holds."""
    if key:
        if not isinstance(held, Mapping) or key not in held:
            there = ", ".join(_keys_of_weights(held)) or "none"
            raise ModelError(f"{file.name} has no weights under {key!r}; those that it has: {there}.")
        return Weights(_state(held[key], file), file)
    others: list[str] = []
    while not _is_state(held):
        keys = _keys_of_weights(held)
        if not keys:
            raise ModelError(f"{file.name} holds no state dict (a dict of tensors by parameter name).")
        held, others = held[keys[0]], others or keys[1:]
    return Weights(_state(held, file), file, tuple(others))


def _state(held: Any, file: Path) -> StateDict:
    if not _is_state(held):
        raise ModelError(f"{file.name} holds no state dict there (a dict of tensors by parameter name).")
    state: StateDict = OrderedDict((name, value) for name, value in held.items() if isinstance(value, Tensor))
    if hasattr(held, "_metadata"):
        state._metadata = held._metadata  # type: ignore[attr-defined]
    quantized = next((name for name, value in state.items() if value.is_quantized), None)
    if quantized:
        raise ModelError(f"{file.name} is quantized ({quantized}): serve the weights that it was made from.")
    return state


def _is_state(held: Any) -> bool:
    """Return whether it is tensors by name. Modules may add state of other types under names of their own."""
    if not isinstance(held, Mapping) or not any(isinstance(value, Tensor) for value in held.values()):
        return False
    return all(
        isinstance(value, Tensor) or str(name).endswith("_extra_state") or "_packed_params" in str(name)
        for name, value in held.items()
    )


def _keys_of_weights(held: Any) -> list[str]:
    if not isinstance(held, Mapping):
        return []
    return [key for key in _IN_CHECKPOINTS if isinstance(held.get(key), Mapping) and held[key]]
