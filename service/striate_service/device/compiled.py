"""Faster forward passes in torch: a network compiled (TorchInductor) for the layers that the operator names.

On GPUs a whole forward pass is one CUDA graph. Compiling takes a minute, so it is done when the network is loaded, for
one set of layers: each pass computes all of them and the logits, whichever a request needs. It gives no gradients.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from striate_service.config import Precision
from striate_service.device.precision import autocast
from striate_service.models.layers import Captured, LayersAndLogits, capture

_TOLERANCES: dict[Precision, float] = {"float32": 1e-4, "tf32": 1e-3, "bfloat16": 3e-2, "float16": 3e-2}
"""The largest difference of a compiled layer from the network's in float32, relative to the layer (2-norm)."""

_MIN_IMAGES = 2  # some of torch's kernels treat a single image specially, so one graph cannot serve 1 and more
_RUNS_UNTIL_REPLAYED = 3  # on GPUs the second run is recorded as a CUDA graph, and the third replays that
_MAX_IMAGES = 1024  # the largest `max_batch_size`; CUDA's kernels have a limit of 65,535


class CompileError(Exception):
    """The network cannot be compiled. The text tells why."""


class CompiledNetwork:
    """Computes chosen layers and the logits of a network by compiled code."""

    def __init__(self, forward: Callable[[Tensor], Sequence[Tensor]], layers: Sequence[str]) -> None:
        self._forward = forward
        self._layers = tuple(layers)

    def has(self, layers: Sequence[str]) -> bool:
        return set(layers) <= set(self._layers)

    def capture(self, inputs: Tensor, layers: Sequence[str], *, logits: bool = False) -> Captured:
        """Return the outputs of `layers`, as `layers.capture` does.

        Args:
            inputs: [N, 3, H, W] of the size that was compiled, normalized, on the network's device.
            layers: a subset of the compiled layers (`has`).
        """
        count = len(inputs)
        inputs = _padded(inputs)
        torch._dynamo.mark_dynamic(inputs, 0)
        if inputs.is_cuda:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]  # torch has none
        with torch.no_grad():
            *outputs, all_logits = self._forward(inputs)

        def kept(output: Tensor) -> Tensor:
            own = output[:count]
            return own.clone() if own.is_cuda else own  # the next replay overwrites this memory

        found = {layer: kept(output) for layer, output in zip(self._layers, outputs, strict=True) if layer in layers}
        return Captured(found, kept(all_logits) if logits else None)


def compiled_network(
    network: nn.Module, layers: Sequence[str], input_shape: tuple[int, int, int], precision: Precision
) -> CompiledNetwork:
    """Compile a network for some of its layers on its device, and compare the outputs with the network's.

    Args:
        layers: paths.
        input_shape: of one image, [3, H, W].
        precision: of the forwards.

    Raises:
        CompileError: it cannot be compiled here, or its outputs differ.
    """
    # By default Inductor starts a compile process for every core, and these stay alive.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    device = next(network.parameters()).device
    options: dict[str, Any] = {"triton.cudagraphs": True} if device.type == "cuda" else {"freezing": True}
    images = torch.zeros(_MIN_IMAGES, *input_shape, device=device)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = torch.export.export(
                LayersAndLogits(network, layers).eval(),
                (images,),
                dynamic_shapes=({0: torch.export.Dim("images", min=_MIN_IMAGES, max=_MAX_IMAGES)},),
                strict=False,
            ).module()
            compiled = CompiledNetwork(torch.compile(graph, options=options), layers)
            for count in (1, 2):
                compare(compiled, network, layers, (count, *input_shape), precision)
    except CompileError:
        raise
    except Exception as error:  # compilers raise whatever a network's operators provoke
        raise CompileError(f"{type(error).__name__}: {error}") from error
    return compiled


def compare(
    compiled: CompiledNetwork,
    network: nn.Module,
    layers: Sequence[str],
    shape: tuple[int, int, int, int],
    precision: Precision,
) -> None:
    """Compare what a network computes with its compiled form, until that is replayed: each time for other images.

    Args:
        shape: of the images, [N, 3, H, W].

    Raises:
        CompileError: a layer differs.
    """
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(0)
    for _ in range(_RUNS_UNTIL_REPLAYED):
        inputs = torch.randn(shape, generator=generator).to(device)
        with torch.no_grad():
            expected = capture(network, inputs, layers, logits=True)
        with autocast(device.type, precision):
            got = compiled.capture(inputs, layers, logits=True)
        for name, theirs in expected.outputs.items():
            error = (got.outputs[name].float() - theirs).norm() / theirs.norm()
            if not error <= _TOLERANCES[precision]:
                raise CompileError(f"compiled, {name} would be {error:.1%} off")


def _padded(inputs: Tensor) -> Tensor:
    """Pad a batch to `_MIN_IMAGES`, and on a GPU to one of few sizes, since each size needs a CUDA graph."""
    count = len(inputs)
    size = max(_MIN_IMAGES, count)
    if inputs.is_cuda:
        size = -(-size // 8) * 8 if size > 4 else 1 << (size - 1).bit_length()
    return torch.cat([inputs, inputs.new_zeros(size - count, *inputs.shape[1:])]) if size > count else inputs
