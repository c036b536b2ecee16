"""The networks of one device: whole or partial forward passes for techniques, each in the fastest form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from striate_service.config import Precision
from striate_service.device.compiled import CompiledNetwork
from striate_service.device.exported import ExportedNetwork
from striate_service.device.precision import autocast
from striate_service.models.description import LayerDescription, ModelDescription, Preprocessing
from striate_service.models.layers import Captured, can_be_cut, capture, logits_with, output_with
from striate_service.models.outputs import answer_of
from striate_service.techniques.target_values import target_values
from striate_service.techniques.targets import Target
from striate_service.techniques.tasks.base import Array


@dataclass(frozen=True)
class ServedModel:
    """A loaded network, and faster forms of it."""

    description: ModelDescription
    network: nn.Module
    """In evaluation mode, on its device, channels last; its parameters require no gradients."""
    exported: ExportedNetwork | None = None
    """A faster form for forward passes without gradients."""
    compiled: CompiledNetwork | None = None
    """A faster form for some layers, without gradients."""


class DeviceNetworks:
    """Implements `techniques.tasks.base.Networks` and the shared forward pass."""

    def __init__(
        self,
        models: Sequence[ServedModel],
        device: str,
        precision: Precision = "float32",
        others_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        self._models = {model.description.name: model for model in models}
        self.device = torch.device(device)
        self._precision = precision
        self._others_wait = others_wait
        self._cuts: dict[tuple[str, str], bool] = {}
        """By model and layer: `can_be_cut`."""
        self._statistics = {name: self._mean_and_std(model.description) for name, model in self._models.items()}

    def to_device(self, array: Array) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()  # so that the copy is asynchronous
        return tensor.to(self.device, non_blocking=True)

    def others_wait(self) -> bool:
        return self._others_wait()

    def check_device(self) -> None:
        """Compute something on the device.

        Raises:
            RuntimeError: it cannot.
        """
        torch.ones(1, device=self.device).add_(1).item()  # which waits for the result

    def module(self, model: str) -> nn.Module:
        return self._models[model].network

    def preprocessing(self, model: str) -> Preprocessing:
        return self._models[model].description.preprocessing

    def activation(self, model: str) -> str:
        """Return what makes probabilities of a model's logits, as `ModelDescription` has it."""
        return self._models[model].description.activation

    def layer(self, model: str, path: str) -> LayerDescription:
        return self._models[model].description.layer_by_name[path]

    def seconds_of_waiting(self) -> float:
        """Return how long forwards have waited, in all, for what is made once and then kept."""
        return sum(served.exported.sessions.seconds_of_waiting for served in self._models.values() if served.exported)

    def inputs(self, model: str, images: Array) -> Tensor:
        return self.normalized(model, self.to_device(images))

    def normalized(self, model: str, images: Tensor) -> Tensor:
        """Return uint8 pixels [N, H, W, 3] as [N, 3, H, W], normalized; preprocessed images as they are."""
        if images.dtype != torch.uint8:
            return images
        mean, std = self._statistics[model]
        # Channels first, as ONNX Runtime takes them: rearranging bytes here is faster than rearranging floats there.
        planes = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        return planes.div_(255).sub_(mean).div_(std)

    def logits_with(self, model: str, pixels: Tensor, layer: str, maps: Tensor) -> Tensor:
        network, described = self.module(model), self.layer(model, layer)
        with self._in_precision():  # so that the logits are comparable with the network's own
            return logits_with(network, self._enough(model, pixels, described), described, maps).float()

    def values_with(
        self,
        model: str,
        pixels: Tensor,
        layer: str,
        maps: Tensor,
        targets: Sequence[Target],
        prefix: Tensor | None = None,
    ) -> Tensor:
        network, described = self.module(model), self.layer(model, layer)
        with self._in_precision():
            answer = answer_of(output_with(network, self._enough(model, pixels, described), described, maps, prefix))
            return target_values(answer, slice(len(maps)), targets)

    def _enough(self, model: str, pixels: Tensor, layer: LayerDescription) -> Tensor:
        """Return the images that are needed where the layer's map is replaced: one, where the rest of the network
        depends on that alone."""
        key = model, layer.path
        if key not in self._cuts:
            self._cuts[key] = can_be_cut(self.module(model), self._models[model].description.input_shape, layer)
        one_will_do = self._cuts[key]
        if layer.prefix_tokens:
            one_will_do &= pixels.stride(0) == 0  # one image, expanded: its prefix tokens are those of all
        return pixels[:1] if one_will_do else pixels

    def forward(
        self,
        model: str,
        pixels: Tensor,
        layers: Sequence[str],
        *,
        logits: bool,
        answer: bool,
        gradients: Sequence[str],
        threads: int,
    ) -> Captured:
        """Run a network, up to the last requested layer, in the fastest form that can compute it.

        Args:
            pixels: [N, 3, H, W], normalized.
            answer: whether targets will be read. Then the network runs as it is.
            gradients: those of `layers` with respect to which targets will be differentiated.
            threads: threads that an exported network may use. torch always uses the threads of its process, since its
                results depend on their number.
        """
        served = self._models[model]
        if served.exported and not answer and served.exported.has(layers):
            return served.exported.capture(pixels, layers, logits=logits, threads=threads)
        if served.compiled and not answer and served.compiled.has(layers):
            with self._in_precision():
                return served.compiled.capture(pixels, layers, logits=logits)
        with torch.set_grad_enabled(bool(gradients)), self._in_precision():
            return capture(served.network, pixels, layers, logits=logits, gradients=gradients)

    def _in_precision(self) -> AbstractContextManager[object]:
        return autocast(self.device.type, self._precision)

    def _mean_and_std(self, model: ModelDescription) -> tuple[Tensor, Tensor]:
        """Return both as [C, 1, 1] on the device."""
        both = (model.preprocessing.mean, model.preprocessing.std)
        mean, std = (torch.tensor(values, device=self.device).view(-1, 1, 1) for values in both)
        return mean, std
