"""Faster forwards for steady traffic, in torch: a network compiled (TorchInductor) for layers that an operator names.

On GPUs whole forwards are then launched at once, as CUDA graphs. Compiling takes a minute, so it is done when the
network is loaded, and for one set of layers: forwards give all of them and the logits, whichever of these a request
wants. Gradients are not to be had from it.
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
"""What may lie between a compiled layer and the network's in float32, relative to the layer (2-norm)."""

_LEAST = 2  # images: some of torch's kernels treat one apart, so that no one graph is right for it and for more
_MOST = 1024  # the largest `max_batch_size`; CUDA's kernels have a limit of 65,535


class CompileError(Exception):
    """The network cannot be run this way. The text tells why."""


class CompiledNetwork:
    """A network's chosen layers and logits, by code that was compiled for them."""

    def __init__(self, forward: Callable[[Tensor], Sequence[Tensor]], layers: Sequence[str]) -> None:
        self._forward = forward
        self._layers = tuple(layers)

    def has(self, layers: Sequence[str]) -> bool:
        return set(layers) <= set(self._layers)

    def capture(self, inputs: Tensor, layers: Sequence[str], *, logits: bool = False) -> Captured:
        """Return the outputs of `layers`, as `layers.capture` does.

        Args:
            inputs: [N, 3, H, W] of the size that was compiled, normalized, on the network's device.
            layers: some that it `has`.
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
            return own.clone() if own.is_cuda else own  # the next replay writes to the same memory

        found = {layer: kept(output) for layer, output in zip(self._layers, outputs, strict=True) if layer in layers}
        return Captured(found, kept(all_logits) if logits else None)


def compiled_network(
    network: nn.Module, layers: Sequence[str], input_shape: tuple[int, int, int], precision: Precision
) -> CompiledNetwork:
    """Compile a network for some of its layers, on the device that it is on, and compare it with the network itself.

    Args:
        layers: paths.
        input_shape: of one image, [3, H, W].
        precision: of the forwards.

    Raises:
        CompileError: it cannot be compiled here, or computes something else.
    """
    # By itself, Inductor compiles in as many processes as there are cores, which stay.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    device = next(network.parameters()).device
    options: dict[str, Any] = {"triton.cudagraphs": True} if device.type == "cuda" else {"freezing": True}
    images = torch.randn(3, *input_shape, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = torch.export.export(
                LayersAndLogits(network, layers).eval(),
                (images[:2],),
                dynamic_shapes=({0: torch.export.Dim("images", min=_LEAST, max=_MOST)},),
                strict=False,
            ).module()
            compiled = CompiledNetwork(torch.compile(graph, options=options), layers)
            for inputs in (images[:1], images[1:]):
                _check(compiled, network, layers, inputs, precision)
    except CompileError:
        raise
    except Exception as error:  # compilers raise whatever a network's operators provoke
        raise CompileError(f"{type(error).__name__}: {error}") from error
    return compiled


def _check(
    compiled: CompiledNetwork, network: nn.Module, layers: Sequence[str], inputs: Tensor, precision: Precision
) -> None:
    with torch.no_grad():
        expected = capture(network, inputs, layers, logits=True)
    with autocast(inputs.device.type, precision):
        got = compiled.capture(inputs, layers, logits=True)
    for name, theirs in expected.outputs.items():
        ours = got.outputs[name]
        off = (ours.float() - theirs).norm() / theirs.norm()
        if not off <= _TOLERANCES[precision]:
            raise CompileError(f"compiled, {name} would be {off:.1%} off")


def _padded(inputs: Tensor) -> Tensor:
    """Fill a batch up: at least to what was compiled, and on a GPU to few sizes, each of which is a CUDA graph."""
    count = len(inputs)
    size = max(_LEAST, count)
    if inputs.is_cuda:
        size = -(-size // 8) * 8 if size > 4 else 1 << (size - 1).bit_length()
    return torch.cat([inputs, inputs.new_zeros(size - count, *inputs.shape[1:])]) if size > count else inputs
