"""Faster forward passes on CPUs: a network as an ONNX graph, run by ONNX Runtime, with any of its layers as outputs.

The graph is exported once, with every layer as an output. For each set of requested outputs a subgraph is extracted
(`sessions.py`), so that no deeper layer is computed, and operators are fused except at requested layers. It gives no
gradients.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate_service.device.sessions import Sessions
from striate_service.models.layers import Captured, LayersAndLogits, capture
from striate_service.stores.files import write_whole

logger = logging.getLogger(__name__)

_TOLERANCE = 1e-4  # largest difference from the network, as a share of the layer's largest value
_INPUT, _LOGITS = "images", "logits"
_FORMAT = 1  # of graphs as we name their outputs; files of another have other names


def graph_file(folder: Path, model_version: str, layers: Sequence[str], input_shape: Sequence[int]) -> Path:
    """Return where a network's graph is kept: elsewhere whenever its layers or the packages that made it changed."""
    made_by = [f"{name} {version(name)}" for name in ("torch", "onnx", "onnxruntime") if find_spec(name)]
    digest = hashlib.sha256(repr([_FORMAT, *made_by, *input_shape, *layers]).encode()).hexdigest()
    return folder / f"{model_version[:16]}-{digest[:16]}.onnx"


class ExportError(Exception):
    """The network cannot be exported. The text tells why."""


class ExportedNetwork:
    """Computes layers and logits of a network by ONNX Runtime."""

    def __init__(self, graph: bytes) -> None:
        self.sessions = Sessions(graph, _INPUT)
        self._outputs = set(self.sessions.outputs)

    def has(self, layers: Sequence[str]) -> bool:
        """Return whether it computes these layers."""
        return self._outputs.issuperset(map(_output, layers))

    def drop(self, layers: Iterable[str]) -> None:
        """Compute these layers no more."""
        self._outputs -= {*map(_output, layers)}

    def capture(self, inputs: Tensor, layers: Sequence[str], *, logits: bool = False, threads: int = 1) -> Captured:
        """Return the outputs of `layers`, as `layers.capture` does. An image gives the same bits alone or in a batch,
        and for any number of threads, of the same session: which one answers, `sessions.py` says.

        Images run one at a time, since a layer's output for one image then stays in the cache for the next layer.
        Measured on a core with 512 KiB of cache, ms of CPU time per image in batches of 1, 4 and 8: squeezenet1_0 21.6,
        22.9, 23.8; googlenet 36.1, 36.5, 36.3; resnet18 47.2, 43.3, 44.6; vit_b_16 468, 483, 530.

        Args:
            inputs: float32 [N, 3, H, W] of the size that was exported, normalized.
        """
        names = [*map(_output, layers), *([_LOGITS] if logits else [])]
        images = inputs.numpy(force=True)
        runs = self.sessions.run(names, [images[number : number + 1] for number in range(len(images))], threads)
        columns = zip(*runs, strict=True)
        outputs = {name: _joined(arrays) for name, arrays in zip(names, columns, strict=True)}
        return Captured({layer: outputs[_output(layer)] for layer in layers}, outputs.get(_LOGITS))


def exported_network(
    network: nn.Module, layers: Sequence[str], input_shape: tuple[int, int, int], file: Path
) -> ExportedNetwork:
    """Return a network in its exported form: from `file` if that is valid, else export it and write `file`.

    Args:
        layers: paths of all layers that may be requested.
        input_shape: of one image, [3, H, W].

    Raises:
        ExportError: ONNX Runtime is not installed, the network cannot be exported, or the graph's outputs differ.
    """
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ExportError(f"it needs pip install 'striate[onnx]' ({error})") from error
    if file.is_file():
        try:
            exported = ExportedNetwork(file.read_bytes())
            known = [layer for layer in layers if exported.has([layer])]
            if not _wrong_outputs(exported, network, known[-1:], input_shape):
                return exported
            logger.warning("%s is exported anew: it is of another network", file)
        except Exception as error:  # damaged, or exported before the architecture's code changed
            logger.warning("%s is exported anew: %s", file, error)
    try:
        graph = _export(network, layers, input_shape)
        exported = ExportedNetwork(graph)
        wrong = _wrong_outputs(exported, network, layers, input_shape)
    except Exception as error:  # exporters raise whatever a network's operators provoke
        raise ExportError(f"{type(error).__name__}: {error}") from error
    if _LOGITS in wrong:
        raise ExportError("the exported graph does not compute the logits as the network does")
    if wrong:
        logger.warning("%d layers run as they are, without ONNX Runtime, first %s", len(wrong), wrong[0])
        exported.drop(wrong)
    write_whole(file, _without(graph, wrong) if wrong else graph)
    return exported


def _export(network: nn.Module, layers: Sequence[str], input_shape: tuple[int, int, int]) -> bytes:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder, "network.onnx")
        torch.onnx.export(
            LayersAndLogits(network, layers).eval(),
            (torch.zeros(2, *input_shape),),
            str(file),
            input_names=[_INPUT],
            output_names=[*map(_output, layers), _LOGITS],
            dynamic_shapes=({0: torch.export.Dim("images")},),
            external_data=False,
            dynamo=True,
            verbose=False,
        )
        return file.read_bytes()


def _without(graph: bytes, layers: Iterable[str]) -> bytes:
    """Return a graph that does not compute these layers."""
    import onnx
    from onnx.utils import Extractor

    model = onnx.load_from_string(graph)
    outputs = {output.name for output in model.graph.output} - {*map(_output, layers)}
    return bytes(Extractor(model).extract_model([_INPUT], sorted(outputs)).SerializeToString())


def _wrong_outputs(
    exported: ExportedNetwork, network: nn.Module, layers: Sequence[str], input_shape: tuple[int, int, int]
) -> list[str]:
    """Return the layers that an exported network does not compute as the network does, and `_LOGITS` for its logits."""
    inputs = torch.randn(3, *input_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = capture(network, inputs, layers, logits=True)
    got = exported.capture(inputs, layers, logits=True)
    exported.sessions.clear()  # a session with every layer as an output is large, and no request needs it
    assert got.logits is not None
    assert expected.logits is not None
    pairs = {layer: (got.layers[layer], theirs) for layer, theirs in expected.layers.items()}
    pairs[_LOGITS] = (got.logits, expected.logits)
    return [name for name, (ours, theirs) in pairs.items() if not _agree(ours, theirs)]


def _agree(ours: Tensor, theirs: Tensor) -> bool:
    if ours.shape != theirs.shape:
        return False
    if not theirs.numel():  # the logits of a network without classes
        return True
    return bool((ours - theirs).abs().max() <= _TOLERANCE * theirs.abs().max())


def _joined(arrays: Sequence[NDArray[np.float32]]) -> Tensor:
    return torch.from_numpy(arrays[0] if len(arrays) == 1 else np.concatenate(arrays))


def _output(layer: str) -> str:
    return f"layer:{layer}"
