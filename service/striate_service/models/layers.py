"""List a network's layers, and capture their outputs without running the network beyond the last requested layer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from striate_service.models.description import LayerDescription, Tokens
from striate_service.models.layouts import replaced, to_map
from striate_service.models.outputs import Answer, answer_of, as_logits, tensors_of
from striate_service.models.probing import Measured, measure, other_image, probe_images

# The article calls GoogLeNet's inception blocks by the names of the original Caffe and TensorFlow models.
_GOOGLENET_BLOCK = re.compile(r"inception(\d[a-e])")

_PREFIX_TOKENS = {
    "cls": ("cls_token", "class_token", "class_embedding"),
    "distill": ("dist_token", "distillation_token"),
    "reg": ("reg_token", "register_tokens"),
}
"""By name: what timm, torchvision and transformers call the parameters that hold such tokens, in their order."""

_COMPARED = 4096  # numbers of an output that are compared between batches


@dataclass(frozen=True)
class Captured:
    """The outputs of one forward pass."""

    layers: dict[str, Tensor]
    """By path: the module's output, [N, *layer shape], as it was when the module returned."""
    logits: Tensor | None
    """[N, classes]; None: not requested."""
    answer: Answer | None = None
    """What targets are read from; None: not requested, or by an exported or compiled network, which gives no more."""

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
        if not logits:
            return Captured(outputs, None)
        return Captured(outputs, as_logits(network, output, inputs), answer_of(output))
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


def logits_with(network: nn.Module, inputs: Tensor, layer: LayerDescription, maps: Tensor) -> Tensor:
    """Return the network's logits with the map of a layer replaced, as `output_with` does it."""
    return as_logits(network, output_with(network, inputs, layer, maps), inputs)


def output_with(
    network: nn.Module, inputs: Tensor, layer: LayerDescription, maps: Tensor, prefix: Tensor | None = None
) -> object:
    """Return the network's output with the map in the output of `layer` replaced.

    Args:
        inputs: [N, C, H, W], normalized. The modules before the layer run on them, and so do branches that bypass it.
            Where the network `can_be_cut`, any single input will do, but for the prefix tokens, which are its own.
        maps: [N, C, rows, columns]. Where they require gradients, the output can be differentiated by them.
        prefix: [N, C, T], other prefix tokens, likewise. None: they stay as they were.
    """
    handle = network.get_submodule(layer.path).register_forward_hook(
        lambda _module, _inputs, output: replaced(output, layer, maps, prefix).clone()
    )
    try:
        with torch.set_grad_enabled(maps.requires_grad or (prefix is not None and prefix.requires_grad)):
            return network(inputs)
    finally:
        handle.remove()


@torch.inference_mode()
def can_be_cut(network: nn.Module, input_shape: Sequence[int], layer: LayerDescription) -> bool:
    """Return whether the layer's map alone determines the output, whatever the inputs and their number.

    It does not if branches bypass the layer, or if a module depends on the number of inputs. With prefix tokens, which
    belong to an input, it means: whatever the number of equal inputs.

    Args:
        input_shape: of one image, [C, H, W].
    """
    parameter = next(network.parameters())
    inputs = torch.randn(3, *input_shape, generator=torch.Generator().manual_seed(0)).to(parameter)
    maps = to_map(capture(network, inputs, [layer.path]).layers[layer.path], layer).roll(1, dims=0)
    if layer.prefix_tokens:
        inputs = inputs[:1].expand_as(inputs)
    whole = tensors_of(output_with(network, inputs, layer, maps))
    try:
        part = tensors_of(output_with(network, inputs[:1], layer, maps))
    except Exception:  # modules raise many types of exceptions over shapes that do not fit
        return False
    return len(part) == len(whole) and all(
        own.shape == theirs.shape and torch.allclose(own, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))
        for own, theirs in zip(part, whole, strict=False)
    )


@dataclass(frozen=True)
class Examination:
    """What running a network on a few images tells of its modules."""

    layers: tuple[LayerDescription, ...]
    """In the order in which they return."""
    left_out: dict[str, str]
    """Modules that are no layers, by path, and why."""
    mixes_images: str
    """The first layer whose output for an image depends on the other images of the batch; empty: there is none."""


def describe_layers(network: nn.Module, input_shape: Sequence[int]) -> tuple[LayerDescription, ...]:
    """Return the layers of `examine`."""
    return examine(network, input_shape).layers


@torch.inference_mode()
def examine(
    network: nn.Module,
    input_shape: Sequence[int],
    told: Tokens | None = None,
) -> Examination:
    """Find the modules that run once in a forward pass and return one tensor that depends on the images, and measure
    how it holds a map (probing.py). It takes 11 images' forwards.

    A module that runs several times (a shared ReLU) has no single output, so it is left out; so is one whose output's
    first extent is not the number of images (windows, position embeddings), since callers share batches.

    Args:
        input_shape: of one image, [C, H, W].
        told: how tokens lie, where the network's source tells. It is tried first, and holds where the probes agree;
            what they contradict is as they measure it. Prefix tokens that it does not name have the parameters' names.
    """
    modules = {path: module for path, module in network.named_modules() if path}
    parameter, runs, found = next(network.parameters()), Counter[str](), dict[str, _Seen | str]()

    def note_probes(path: str, output: object) -> None:
        runs[path] += 1
        found[path] = _see(output, len(probes), input_shape, told)

    def note_others(path: str, output: object) -> None:
        seen = found.get(path)
        if isinstance(seen, _Seen):
            found[path] = _compare(seen, output)

    probes = probe_images(input_shape).to(parameter)
    with _hooks(modules, note_probes):
        network(probes)
    with _hooks(modules, note_others):
        network(torch.stack([other_image(input_shape).to(parameter), probes[0]]))

    layers, mixing, left_out = [], "", dict.fromkeys(modules, "it does not run in a forward pass")
    for path, seen in found.items():
        if runs[path] > 1:
            left_out[path] = f"it runs {runs[path]} times in a forward pass"
        elif isinstance(seen, str):
            left_out[path] = seen
        elif not seen.depends:
            left_out[path] = "its output does not depend on the image"
        else:
            del left_out[path]
            mixing = mixing or (path if seen.mixes else "")
            tokens = _prefix_names(network, seen.measured.prefix, told)
            how, grid = seen.measured.layout, seen.measured.grid
            kind = type(modules[path]).__name__
            layers.append(LayerDescription(path, kind, seen.shape, _aliases(path), how, grid, tokens, seen.signed))
    return Examination(tuple(layers), left_out, mixing)


@dataclass(frozen=True)
class _Seen:
    """What has been seen of a module's output."""

    shape: tuple[int, ...]
    measured: Measured
    signed: bool
    depends: bool
    """Whether it depends on the image."""
    sample: Tensor = field(repr=False)
    """Of the output for the probes' first image."""
    mixes: bool = False
    """Whether its output for an image depends on the other images."""


@contextmanager
def _hooks(modules: dict[str, nn.Module], note: Callable[[str, object], None]) -> Iterator[None]:
    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, path=path: note(path, output))
        for path, module in modules.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _see(output: object, images: int, input_shape: Sequence[int], told: Tokens | None) -> _Seen | str:
    """Return what an output for the probes shows, or why it is no layer's."""
    if not isinstance(output, Tensor) or not output.is_floating_point():
        return "it returns no tensor of numbers"
    if output.dim() < 2 or output.shape[0] != images:
        return "what it returns is not one entry an image"
    _, height, width = input_shape
    return _Seen(
        shape=tuple(output.shape[1:]),
        measured=measure(output, (height, width), told),
        signed=bool(output.min() < 0),
        depends=_differ(output),
        sample=_sample(output[0]),
    )


def _compare(seen: _Seen, output: object) -> _Seen | str:
    """Compare the output for another image and for the probes' first one with what was seen."""
    if not isinstance(output, Tensor) or tuple(output.shape) != (2, *seen.shape):
        return "what it returns is not one entry an image"
    other, same = _sample(output[0]), _sample(output[1])
    difference, spread = (same - seen.sample).abs().max(), (other - same).abs().max()
    # A batch of another size is computed in another order: that is no difference.
    mixes = bool(difference > 0.01 * spread + 1e-5 * same.abs().max())
    signed, depends = seen.signed or bool(output.min() < 0), seen.depends or _differ(output)
    return _Seen(seen.shape, seen.measured, signed, depends, seen.sample, mixes)


def _differ(output: Tensor) -> bool:
    return bool((output[1:] != output[0]).any())


def _sample(output: Tensor) -> Tensor:
    flat = output.flatten()
    return flat[:: -(-len(flat) // _COMPARED)].float().clone()


def _prefix_names(network: nn.Module, count: int, told: Tokens | None) -> tuple[str, ...]:
    """Return the names of so many prefix tokens; "" where they are not known."""
    if told and told.prefix and len(told.prefix) == count:
        return told.prefix
    names: list[str] = []
    for name, attributes in _PREFIX_TOKENS.items():
        for path, parameter in network.named_parameters():
            if path.rpartition(".")[2] in attributes:
                held = parameter.numel() // parameter.shape[-1]
                names += [name] if held == 1 and name != "reg" else [f"{name}{number}" for number in range(held)]
    return tuple(names) if len(names) == count else ("",) * count


def _aliases(path: str) -> tuple[str, ...]:
    block = _GOOGLENET_BLOCK.fullmatch(path)
    return (f"mixed{block[1]}",) if block else ()
