"""What a file is that should hold weights, told by its bytes: its name may say anything."""

from __future__ import annotations

import json
import pickletools
import zipfile
from pathlib import Path

from striate_service.models.errors import ModelError

_READ = "Save its weights by torch.save(model.state_dict(), path) and serve them with their architecture."
_NOT_WEIGHTS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "is a git-lfs pointer, not the file itself: fetch that by git lfs pull."),
    (b"\x89HDF", "is HDF5 (Keras or TensorFlow), which torch cannot load: convert its weights to a state dict first."),
    (b"GGUF", "is GGUF, whose weights are quantized: serve the file that it was made from."),
    (b"<", "is a web page or XML, not weights: download the file itself."),
)
_STATE_DICT_TYPES = {("collections", "OrderedDict"), ("builtins", "dict"), ("__builtin__", "dict")}


def is_safetensors(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(9)[8:] == b"{"


def check_is_weights(file: Path) -> None:
    """Refuse what is no file of weights, or not the whole of one.

    Raises:
        ModelError: it is named for what it is, with what to do instead.
    """
    with file.open("rb") as opened:
        start = opened.read(512)
    if not start:
        raise ModelError(f"{file.name} is empty.")
    for magic, problem in _NOT_WEIGHTS:
        if start.startswith(magic):
            raise ModelError(f"{file.name} {problem}")
    if file.suffix == ".onnx" or b"pytorch" in start[:32]:  # how torch's exporters begin a graph
        raise ModelError(
            f"{file.name} is an ONNX graph, which gives no gradients. Serve the network it came from. {_READ}"
        )
    if is_safetensors(file):
        _check_safetensors(file)
    elif start.startswith(b"PK"):
        _check_archive(file)


def _check_safetensors(file: Path) -> None:
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        size = file.stat().st_size
        if 8 + length > size:
            raise ModelError(_cut(file))
        try:
            header = json.loads(opened.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ModelError(f"{file.name} is a damaged safetensors file: copy it again.") from error
    if 8 + length + max(ends, default=0) > size:
        raise ModelError(_cut(file))


def _check_archive(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise ModelError(_cut(file)) from error
    inside = [name.partition("/")[2] for name in names]
    if "constants.pkl" in inside or any(name.startswith("code/") for name in inside):
        raise ModelError(
            f"{file.name} is TorchScript, whose layers cannot be read. Serve the network it came from. {_READ}"
        )
    if is_exported_program(file):
        raise ModelError(f"{file.name} is an exported program: serve it as NAME=export:{file.name}.")
    if "data.pkl" not in inside:
        raise ModelError(f"{file.name} is an archive without weights. {_READ}")


def is_exported_program(file: Path) -> bool:
    """Return whether torch.export.save wrote it."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        return False
    return "archive_format" in names or "serialized_exported_program.json" in names


def check_is_no_object(file: Path, keys: tuple[str, ...]) -> None:
    """Refuse, by name, what is pickled in a .pth file and is no weights; nothing is unpickled.

    Args:
        keys: under which checkpoints hold their weights.

    Raises:
        ModelError: it is a pickled network or holds another type.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            pickled = archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))
    except (zipfile.BadZipFile, StopIteration):
        pickled = file.read_bytes()  # as torch.save wrote before version 1.6, or some other pickle
    try:
        operations = [(code.name, argument) for code, argument, _ in pickletools.genops(pickled)]
    except Exception:  # it is no pickle at all
        return
    types = [tuple(str(argument).split(" ", 1)) for name, argument in operations if name == "GLOBAL"]
    first = next((name for name, _ in operations if name not in ("PROTO", "BINPUT", "FRAME", "MEMOIZE")), "")
    if first == "GLOBAL" and types[0] not in _STATE_DICT_TYPES:
        raise ModelError(
            f"{file.name} is a whole pickled {types[0][1]}, which is not unpickled, since that runs code. Where you "
            f"trust it: torch.save(torch.load('{file.name}', weights_only=False).state_dict(), 'weights.pth')"
        )
    others = [".".join(type_) for type_ in types if not _is_plain(type_)]
    if others:
        held = next((key for key in keys if ("BINUNICODE", key) in operations), None)
        part = f"[{held!r}]" if held else ""
        raise ModelError(
            f"{file.name} also holds {others[0]}, which is not unpickled, since that can run code. Where you "
            "trust it:\n"
            f"weights = torch.load('{file.name}', weights_only=False){part}\n"
            "torch.save(weights, 'weights.pth')"
        )


def _is_plain(type_: tuple[str, ...]) -> bool:
    """Return whether a type is one of which state dicts are made."""
    module, name = type_[0], type_[-1]
    if type_ in _STATE_DICT_TYPES or module in ("torch.storage", "torch.serialization"):
        return True
    return (module == "torch._utils" and name.startswith("_rebuild")) or (
        module == "torch" and (name.endswith("Storage") or name in ("Size", "device") or name[0].islower())
    )


def _cut(file: Path) -> str:
    return f"{file.name} is cut short: it ends before its contents do. Copy or download it again."
