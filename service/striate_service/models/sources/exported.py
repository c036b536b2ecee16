"""Programs that torch.export made: export:FILE.pt2. Unflattened, the network's modules are layers again.

The file is the whole network, so no code of its own is needed. Graphs and pickles of unknown types are not run, but
torch's reader is not made for strangers' files: serve those that you trust.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from striate_service.config import ModelSettings
from striate_service.models.errors import ModelError
from striate_service.models.sources.source import Architecture, Metadata
from striate_service.models.weight_files import is_exported_program
from striate_service.models.weights import Weights

_OBJECTS = ("custom_obj_", "opaque_obj_")
"""Files in the archive that are unpickled as they are."""


def owns(model: ModelSettings) -> bool:
    return model.architecture == "export"


def find(model: ModelSettings) -> Architecture:
    return Architecture(lambda _weights: _unflattened(Path(model.weights).expanduser()))


def own_weights(model: ModelSettings) -> Weights | None:
    return Weights({}, are_built=True) if owns(model) else None


def metadata(_model: ModelSettings, _weights: Weights) -> Metadata:
    return Metadata()


def _unflattened(file: Path) -> nn.Module:
    if not file.is_file():
        raise ModelError(f"there is no file {file}.")
    if not is_exported_program(file):
        raise ModelError(f"{file.name} is no exported program, as torch.export.save writes it.")
    with zipfile.ZipFile(file) as archive:
        if any(Path(name).name.startswith(_OBJECTS) for name in archive.namelist()):
            raise ModelError(f"{file.name} holds objects of other types than tensors, which are not unpickled.")
    with _weights_only():
        program = torch.export.load(file)
    given = program.graph_signature.user_inputs
    inputs = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in given]
    if len(inputs) != 1:
        raise ModelError(
            f"{file.name} takes {len(inputs)} inputs, and only images can be given: export the part for images."
        )
    shape = tuple(inputs[0].shape)
    if isinstance(shape[0], int):
        raise ModelError(
            f"{file.name} was exported for batches of {shape[0]}. Export it from 2 images, and for any number: "
            "torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim('n')},))"
        )
    return torch.export.unflatten(program)


@contextmanager
def _weights_only() -> Iterator[None]:
    """Have torch read tensors and nothing else, also where its reader of programs asks for more."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    former = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if former is None:
            del os.environ[name]
        else:
            os.environ[name] = former
