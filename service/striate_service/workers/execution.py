"""Carrying out tasks with networks: one forward for all that start from images, then each task's own technique."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from striate_service.models.layers import Captured, capture
from striate_service.models.loading import LoadedModel
from striate_service.techniques import feature_visualization
from striate_service.techniques.activations import select
from striate_service.techniques.attribution import class_gradients, group_effects, neuron_effects
from striate_service.techniques.factorization import Factorization, factorize
from striate_service.techniques.natural_examples import bin_counts, peaks
from striate_service.workers.messages import Failure, Refusal
from striate_service.workers.shared_memory import Arrays
from striate_service.workers.tasks import (
    ActivationsTask,
    DictionaryTask,
    FactorizeActivationsTask,
    FactorizeTask,
    ImageTask,
    IndexTask,
    RenderTask,
    Task,
)

Result = dict[str, NDArray[np.generic]] | Refusal | Failure


class _Refused(Exception):
    def __init__(self, field: str, problem: str) -> None:
        self.refusal = Refusal(field, problem)


@dataclass(frozen=True)
class _Part:
    """What the shared forward computed for the images of one task."""

    layers: dict[str, Tensor]
    logits: Tensor | None
    """[N, classes]"""
    classes: Tensor
    """int64 [N, M]: the logits that are explained."""
    gradients: dict[str, Tensor]
    """By layer, [N, M, C, H, W]."""


class Executor:
    """The networks of one device, and what can be done with them."""

    def __init__(self, models: Sequence[LoadedModel], device: str) -> None:
        self._models = {model.description.name: model for model in models}
        self._device = torch.device(device)

    def run(self, tasks: Sequence[Task], inputs: Sequence[Arrays]) -> list[Result]:
        """Carry out tasks that the scheduler found to belong together, and return their results in order.

        A task that is refused or fails leaves the others alone; an exception means that what they share failed.
        """
        if isinstance(tasks[0], ImageTask):
            image_tasks = [task for task in tasks if isinstance(task, ImageTask)]
            parts = self._forward(image_tasks, [arrays["images"] for arrays in inputs])
            return [self._attempt(task, part) for task, part in zip(image_tasks, parts, strict=True)]
        return [self._attempt(task, arrays) for task, arrays in zip(tasks, inputs, strict=True)]

    def _attempt(self, task: Task, given: _Part | Arrays) -> Result:
        try:
            result = self._finish(task, given)
            return {name: tensor.detach().cpu().numpy() for name, tensor in result.items()}
        except _Refused as refused:
            return refused.refusal
        except torch.OutOfMemoryError:
            raise  # smaller batches may do better
        except Exception as error:
            return Failure(f"{type(task).__name__}: {error}")

    def _finish(self, task: Task, given: _Part | Arrays) -> dict[str, Tensor]:
        match task, given:
            case ActivationsTask(), _Part():
                return _activations(task, given)
            case DictionaryTask(), _Part():
                return _dictionary(task, given)
            case FactorizeTask(), _Part():
                return _factorize(task, given)
            case IndexTask(), _Part():
                return _index(task, given)
            case FactorizeActivationsTask(), dict():
                layer = torch.from_numpy(given["activations"]).to(self._device)
                return _groups(layer, task.components, task.rectify)[1]
            case RenderTask(), dict():
                return self._render(task, given)
        raise TypeError(f"{task} cannot be carried out on {type(given).__name__}")

    def _forward(self, tasks: Sequence[ImageTask], images: Sequence[NDArray[np.generic]]) -> list[_Part]:
        """Run the network once on everybody's images, no deeper than somebody needs it."""
        model = self._models[tasks[0].model]
        layers = list(dict.fromkeys(path for task in tasks for path in _layers(task)))
        explained = list(dict.fromkeys(path for task in tasks for path in _explained_layers(task)))
        logits = any(task.class_count or task.classes for task in tasks)
        pixels = self._normalize(model, np.concatenate(images))
        if model.exported and not explained:
            captured = model.exported.capture(pixels, layers, logits=logits)
        else:
            with torch.set_grad_enabled(bool(explained)):
                captured = capture(model.network, pixels, layers, logits=logits, gradients=explained)
        ends = np.cumsum([len(array) for array in images])
        slices = [slice(end - len(array), end) for end, array in zip(ends, images, strict=True)]
        classes = [_explained_classes(task, captured, part) for task, part in zip(tasks, slices, strict=True)]
        gradients = _gradients(captured, explained, classes)
        return [
            _Part(
                {path: captured.layers[path][part].detach() for path in _layers(task)},
                None if captured.logits is None else captured.logits[part].detach(),
                chosen,
                {path: gradients[path][part, : chosen.shape[1]] for path in _explained_layers(task)},
            )
            for task, part, chosen in zip(tasks, slices, classes, strict=True)
        ]

    def _normalize(self, model: LoadedModel, images: NDArray[np.generic]) -> Tensor:
        """[N, H, W, 3] pixels become [N, 3, H, W], channels last, normalized on the device."""
        tensor = torch.from_numpy(images).to(self._device)
        if tensor.dtype != torch.uint8:
            return tensor.to(memory_format=torch.channels_last)
        preprocessing = model.description.preprocessing
        mean = torch.tensor(preprocessing.mean, device=self._device).view(3, 1, 1)
        std = torch.tensor(preprocessing.std, device=self._device).view(3, 1, 1)
        return tensor.permute(0, 3, 1, 2).float().div_(255).sub_(mean).div_(std)

    def _render(self, task: RenderTask, arrays: Arrays) -> dict[str, Tensor]:
        model = self._models[task.model]
        preprocessing = model.description.preprocessing
        state = (
            feature_visualization.State.from_arrays(dict(arrays), device=self._device)
            if arrays
            else feature_visualization.start(task.recipe, len(task.objectives), device=self._device)
        )
        slice_end = time.monotonic() + task.seconds
        state = feature_visualization.advance(
            model.network,
            task.layer,
            task.objectives,
            task.recipe,
            state,
            normalize=(preprocessing.mean, preprocessing.std),
            until=lambda: time.monotonic() >= slice_end,
        )
        result = {name: torch.from_numpy(array) for name, array in state.to_arrays().items()}
        if state.step >= task.recipe.steps:
            result["pictures"] = feature_visualization.pictures(state)
        return result


def _layers(task: ImageTask) -> tuple[str, ...]:
    match task:
        case ActivationsTask() | IndexTask():
            return task.layers
        case DictionaryTask() | FactorizeTask():
            return (task.layer,)
    raise TypeError(f"{task} starts from no layer")


def _explained_layers(task: ImageTask) -> tuple[str, ...]:
    """The layers that the task needs logits' gradients with respect to."""
    if isinstance(task, DictionaryTask | FactorizeTask) and (task.class_count or task.classes):
        return (task.layer,)
    return ()


def _explained_classes(task: ImageTask, captured: Captured, part: slice) -> Tensor:
    """Return int64 [N, M]: the logits whose gradients the task needs."""
    if captured.logits is None or not _explained_layers(task):
        return torch.empty(part.stop - part.start, 0, dtype=torch.int64)
    logits = captured.logits[part].detach()
    if task.classes:
        chosen = torch.tensor(task.classes, device=logits.device)
    else:
        chosen = logits.softmax(1).mean(0).argsort(descending=True, stable=True)[: task.class_count]
    return chosen.expand(len(logits), -1)


def _gradients(captured: Captured, explained: Sequence[str], classes: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return, by layer, [N, M, C, H, W] for everybody's images at once, M being the most that anybody needs."""
    if captured.logits is None or not explained:
        return {}
    most = max(chosen.shape[1] for chosen in classes)
    padded = torch.cat([torch.nn.functional.pad(chosen, (0, most - chosen.shape[1])) for chosen in classes])
    padded = padded.to(captured.logits.device)
    return {path: class_gradients(captured.logits, captured.layers[path], padded) for path in explained}


def _predictions(task: ImageTask, logits: Tensor | None) -> dict[str, Tensor]:
    """predicted int32 [N, M], the most probable classes, best first; their probabilities and logits [N, M]."""
    if logits is None or not task.class_count:
        return {}
    predicted = logits.argsort(dim=1, descending=True, stable=True)[:, : task.class_count]
    return {
        "predicted": predicted.int(),
        "probabilities": logits.softmax(1).gather(1, predicted),
        "logits": logits.gather(1, predicted),
    }


def _activations(task: ActivationsTask, part: _Part) -> dict[str, Tensor]:
    selected = {
        path: select(part.layers[path], reduction=task.reduction, channels=task.channels, half=task.half)
        for path in task.layers
    }
    return selected | _predictions(task, part.logits)


def _dictionary(task: DictionaryTask, part: _Part) -> dict[str, Tensor]:
    layer = part.layers[task.layer][0]
    channels = layer.argsort(dim=0, descending=True, stable=True)[: task.neurons]
    result = {
        "magnitude": layer.norm(dim=0),
        "channels": channels.int().permute(1, 2, 0),
        "activations": layer.gather(0, channels).permute(1, 2, 0),
        "classes": part.classes[0].int(),
    }
    if task.layer in part.gradients:
        effects = neuron_effects(layer, part.gradients[task.layer][0], channels)
        result["effects"] = effects.permute(2, 3, 0, 1)
    return result | _predictions(task, part.logits)


def _factorize(task: FactorizeTask, part: _Part) -> dict[str, Tensor]:
    layer = part.layers[task.layer]
    groups, result = _groups(layer, task.components, task.rectify)
    result["classes"] = part.classes[0].int()
    if task.layer in part.gradients:
        spatial = groups.weights.view(len(layer), *layer.shape[2:], -1)
        result["effects"], result["residual"] = group_effects(
            layer, part.gradients[task.layer], spatial, groups.directions
        )
    return result | _predictions(task, part.logits)


def _index(task: IndexTask, part: _Part) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    for path in task.layers:
        result[f"{path} peaks"], result[f"{path} positions"] = peaks(part.layers[path])
        result[f"{path} bins"], result[f"{path} counts"] = bin_counts(part.layers[path])
    return result


def _groups(layer: Tensor, components: int, rectify: bool) -> tuple[Factorization, dict[str, Tensor]]:
    """Factorize activations [N, C, H, W], all images together."""
    images, channels, height, width = layer.shape
    if not torch.isfinite(layer).all():
        raise _Refused("activations", "hold NaN or infinity; only finite numbers can be factorized")
    if not rectify and layer.min() < 0:
        raise _Refused(
            "activations",
            f"hold negative values (as low as {layer.min():.3g}), which non-negative factorization cannot explain; "
            "choose a layer after a ReLU, or set rectify to count them as 0",
        )
    matrix = layer.clamp(min=0).permute(0, 2, 3, 1).reshape(-1, channels)
    groups = factorize(matrix, components)
    return groups, {
        "spatial": groups.weights.view(images, height, width, -1),
        "directions": groups.directions,
        "relative_error": groups.relative_error,
        "importance": groups.importance,
    }
