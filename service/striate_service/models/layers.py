"""List a network's layers, and capture their outputs without running the network beyond the last requested layer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from striate_service.models.description import LayerDescription
from striate_service.models.outputs import as_logits

# The article calls GoogLeNet's inception blocks by the names of the original Caffe and TensorFlow models.
_GOOGLENET_BLOCK = re.compile(r"inception(\d[a-e])")


@dataclass(frozen=True)
class Captured:
    """The outputs of one forward pass."""

    layers: dict[str, Tensor]
    """By path: the module's output, [N, *layer shape], as it was when the module returned."""
    logits: Tensor | None
    """[N, classes]; None: not requested."""

    @property
    def outputs(self) -> dict[str, Tensor]:
        """The layers by path and, after them, the logits, if there are any, as "the logits"."""
        return self.layers if self.logits is None else self.layers | {"the logits": self.logits}


class _Stop(Exception):
    """Ends the forward pass when all requested layers have returned."""


def capture(
    network: nn.Module, inputs: Tensor, layers: Sequence[str], *, logits: bool = False, gradients: Collection[str] = ()
) -> Captured:
    """Run `network` on `inputs` and return the outputs of `layers`, stopping after the last of them.

    Args:
        inputs: [N, 3, H, W], normalized.
        layers: paths as `describe_layers` lists them.
        logits: run to the end and return the network's output too.
        gradients: those of `layers` with respect to which the logits will be differentiated. Autograd records only what
            follows the first of them if the network's parameters require no gradients.

    Later modules get copies of captured outputs, since torchvision's ReLUs overwrite their input.
    """
    outputs: dict[str, Tensor] = {}

    def keep(path: str, output: Tensor) -> Tensor:
        if path in gradients and not output.requires_grad:
            output = output.detach().requires_grad_()
        outputs[path] = output
        if not logits and len(outputs) == len(layers):
            raise _Stop
        return output.clone()

    def hook(path: str) -> RemovableHandle:
        return network.get_submodule(path).register_forward_hook(lambda _module, _inputs, output: keep(path, output))

    handles = [hook(path) for path in layers]
    try:
        output = network(inputs)
        return Captured(outputs, as_logits(network, output, inputs) if logits else None)
    except _Stop:
        return Captured(outputs, None)
    finally:
        for handle in handles:
            handle.remove()


class LayersAndLogits(nn.Module):
    """A network that returns the outputs of some of its layers and, last, its logits, for tracing and exporting."""

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self._layers = tuple(layers)

    def forward(self, images: Tensor) -> tuple[Tensor | None, ...]:
        captured = capture(self.network, images, self._layers, logits=True)
        return (*(captured.layers[layer] for layer in self._layers), captured.logits)


def logits_with(network: nn.Module, inputs: Tensor, layer: str, outputs: Tensor) -> Tensor:
    """Return the network's logits with the output of `layer` replaced by `outputs`.

    Args:
        inputs: [N, 3, H, W], normalized. The modules before the layer run on them, and so do branches that bypass it.
            Where the network `can_be_cut`, any single input will do.
        outputs: [N, *layer shape]. Where they require gradients, the logits can be differentiated with respect to them.
    """
    handle = network.get_submodule(layer).register_forward_hook(lambda _module, _inputs, _output: outputs.clone())
    try:
        with torch.set_grad_enabled(outputs.requires_grad):
            return as_logits(network, network(inputs), inputs)
    finally:
        handle.remove()


@torch.inference_mode()
def can_be_cut(network: nn.Module, input_shape: Sequence[int], layer: str) -> bool:
    """Return whether the layer's outputs alone determine the logits, whatever the inputs and their number.

    They do not if branches bypass the layer, or if a module depends on the number of inputs.

    Args:
        input_shape: of one image, [3, H, W].
    """
    parameter = next(network.parameters())
    inputs = torch.randn(3, *input_shape, generator=torch.Generator().manual_seed(0)).to(parameter)
    outputs = capture(network, inputs, [layer]).layers[layer].roll(1, dims=0)
    whole = logits_with(network, inputs, layer, outputs)
    try:
        part = logits_with(network, inputs[:1], layer, outputs)
    except Exception:  # modules raise many types of exceptions over shapes that do not fit
        return False
    return part.shape == whole.shape and torch.allclose(part, whole, rtol=1e-4, atol=1e-4 * float(whole.abs().max()))


@torch.inference_mode()
def describe_layers(network: nn.Module, input_shape: Sequence[int]) -> tuple[LayerDescription, ...]:
    """Return the modules that run once in a forward pass and return one tensor, in the order in which they return.

    A module that runs several times (a shared ReLU) has no single output, so it is left out.

    Args:
        input_shape: of one image, [3, H, W].
    """
    shapes: dict[str, tuple[int, ...]] = {}
    runs: Counter[str] = Counter()

    def note(path: str, output: object) -> None:
        runs[path] += 1
        if isinstance(output, Tensor) and output.dim() >= 2 and output.shape[0] == 1:
            shapes[path] = tuple(output.shape[1:])

    modules = {path: module for path, module in network.named_modules() if path}
    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, path=path: note(path, output))
        for path, module in modules.items()
    ]
    parameter = next(network.parameters())
    try:
        network(torch.zeros(1, *input_shape, device=parameter.device, dtype=parameter.dtype))
    finally:
        for handle in handles:
            handle.remove()
    return tuple(
        LayerDescription(path, type(modules[path]).__name__, shape, _aliases(path))
        for path, shape in shapes.items()
        if runs[path] == 1
    )


def _aliases(path: str) -> tuple[str, ...]:
    block = _GOOGLENET_BLOCK.fullmatch(path)
    return (f"mixed{block[1]}",) if block else ()
