"""Read state dicts from files: .safetensors, .pth, and checkpoints of training scripts or DataParallel."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from striate_service.models.errors import ModelError

StateDict = dict[str, Tensor]

_IN_CHECKPOINTS = ("state_dict", "model")  # the keys under which training scripts store a state dict
_DATA_PARALLEL = "module."  # torch.nn.DataParallel prefixes every key with it


@dataclass(frozen=True)
class Weights:
    state: StateDict
    version: str
    """The SHA-256 of the file, in hexadecimal."""


def read_weights(file: Path) -> Weights:
    """Return the state dict in `file`, which may be a training checkpoint or saved from DataParallel.

    Raises:
        ModelError: the file cannot be read, or holds no state dict.
    """
    version = file_version(file)
    return Weights(_read_state(file), version)


def file_version(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _read_state(file: Path) -> StateDict:
    try:
        if file.suffix == ".safetensors":
            state: Any = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types of exceptions over damaged files
        raise ModelError(
            f"{file} cannot be read as weights: {error}. It should be a state dict, saved by "
            "torch.save(model.state_dict(), path) or by safetensors."
        ) from error
    for key in _IN_CHECKPOINTS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{file} holds no state dict (a dict of tensors by parameter name).")
    return {key.removeprefix(_DATA_PARALLEL): value for key, value in state.items()}
