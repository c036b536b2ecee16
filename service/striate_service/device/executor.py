"""Carrying out tasks with networks: one forward for all that start from images, then each task's own technique."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from striate_service.backends.local.messages import Failure, Refusal
from striate_service.backends.local.shared_memory import Arrays
from striate_service.config import Precision
from striate_service.device.served import ServedModel
from striate_service.device.staging import Copied, CopyStream
from striate_service.models.layers import Captured, can_be_cut, capture, logits_with
from striate_service.techniques import feature_visualization
from striate_service.techniques.activations import select
from striate_service.techniques.attribution import (
    class_gradients,
    neuron_effects,
    path_gradients,
)
from striate_service.techniques.groups import (
    explain_groups,
    groups_of_activations,
    layers_with_flows,
    reconstruction,
)
from striate_service.techniques.natural_examples import bin_counts, peaks
from striate_service.techniques.outcomes import Result, attempt
from striate_service.techniques.part import Part
from striate_service.techniques.tasks import (
    ActivationsTask,
    DictionaryTask,
    FactorizeActivationsTask,
    FactorizeLayersTask,
    FactorizeTask,
    ImageTask,
    IndexTask,
    MaskedGroupsTask,
    RenderTask,
    Task,
)


class Executor:
    """The networks of one device, and what can be done with them."""

    def __init__(
        self,
        models: Sequence[ServedModel],
        device: str,
        precision: Precision = "float32",
        *,
        copies_ahead: bool = False,
    ) -> None:
        self._models = {model.description.name: model for model in models}
        self._device = torch.device(device)
        self._precision = getattr(torch, precision)
        self._cuts: dict[tuple[str, str], bool] = {}
        """By model and layer, whether what follows the layer can be run by itself."""
        self._copy_stream = CopyStream(self._device) if copies_ahead and self._device.type == "cuda" else None

    @property
    def copies_ahead(self) -> bool:
        """Whether it takes a batch's images before the batch's turn."""
        return self._copy_stream is not None

    def copy_ahead(self, tasks: Sequence[Task], inputs: Sequence[Arrays]) -> Copied | None:
        """Begin to copy images to the device, where that is done ahead, for `run` to take."""
        if self._copy_stream is None or not isinstance(tasks[0], ImageTask):
            return None
        try:
            return self._copy_stream.copy(_images(inputs))
        except Exception:  # at its turn it has more room, or its callers are told what is wrong
            return None

    def run(
        self, tasks: Sequence[Task], inputs: Sequence[Arrays], threads: int = 1, copied: Copied | None = None
    ) -> list[Result]:
        """Carry out tasks that the scheduler found to belong together, and return their results in order.

        A task that is refused or fails leaves the others alone; an exception means that what they share failed.

        Args:
            threads: that an exported network may take. What runs in torch has those of its process: its results would
                depend on their number.
            copied: the inputs' images, where they were sent ahead.
        """
        if isinstance(tasks[0], ImageTask):
            image_tasks = [task for task in tasks if isinstance(task, ImageTask)]
            results = self._explain(image_tasks, self._forward(image_tasks, inputs, threads, copied))
        elif isinstance(tasks[0], FactorizeActivationsTask):
            layers = [torch.from_numpy(given["activations"]).to(self._device) for given in inputs]
            results = groups_of_activations(
                [task for task in tasks if isinstance(task, FactorizeActivationsTask)], layers
            )
        else:
            results = [attempt(self._carry_out, task, given) for task, given in zip(tasks, inputs, strict=True)]
        return [_in_memory(result) for result in results]

    def _explain(
        self, tasks: Sequence[ImageTask], parts: Sequence[Part]
    ) -> list[dict[str, Tensor] | Refusal | Failure]:
        groups = self._groups(tasks, parts)
        results: dict[int, dict[str, Tensor] | Refusal | Failure] = {}
        for number, (task, part) in enumerate(zip(tasks, parts, strict=True)):
            if isinstance(task, FactorizeTask):
                results[number] = groups[number][0]
            elif isinstance(task, FactorizeLayersTask):
                results[number] = attempt(
                    layers_with_flows, task, part, groups[number], self._models[task.model].network
                )
            elif isinstance(task, ActivationsTask):
                results[number] = attempt(_activations, task, part)
            elif isinstance(task, DictionaryTask):
                results[number] = attempt(self._dictionary, task, part)
            elif isinstance(task, IndexTask):
                results[number] = attempt(_index, task, part)
        return [
            result | _predictions(task, part.logits) if isinstance(result := results[number], dict) else result
            for number, (task, part) in enumerate(zip(tasks, parts, strict=True))
        ]

    def _groups(
        self, tasks: Sequence[ImageTask], parts: Sequence[Part]
    ) -> dict[int, list[dict[str, Tensor] | Refusal | Failure]]:
        """Return, by the numbers of those tasks that want groups, one result a layer."""
        model = tasks[0].model
        wanted = [
            (number, each)
            for number, task in enumerate(tasks)
            if isinstance(task, FactorizeTask | FactorizeLayersTask)
            for each in (task.each if isinstance(task, FactorizeLayersTask) else (task,))
        ]
        found = explain_groups(
            [each for _, each in wanted],
            [parts[number] for number, _ in wanted],
            lambda pixels, layer, outputs: self._logits_with(model, pixels, layer, outputs),
        )
        groups: dict[int, list[dict[str, Tensor] | Refusal | Failure]] = defaultdict(list)
        for (number, _), result in zip(wanted, found, strict=True):
            groups[number].append(result)
        return groups

    def _carry_out(self, task: Task, given: Arrays) -> dict[str, Tensor]:
        match task:
            case MaskedGroupsTask():
                return self._masked_groups(task, given)
            case RenderTask():
                return self._render(task, given)
        raise TypeError(f"{type(task).__name__} does not stand alone")

    def _dictionary(self, task: DictionaryTask, part: Part) -> dict[str, Tensor]:
        layer = part.layers[task.layer][0]
        channels = layer.argsort(dim=0, descending=True, stable=True)[: task.neurons]
        classes = part.classes[0]
        result = {
            "magnitude": layer.norm(dim=0),
            "channels": channels.int().permute(1, 2, 0),
            "activations": layer.gather(0, channels).permute(1, 2, 0),
            "classes": classes.int(),
        }
        if len(classes) and part.logits is not None:
            if task.attribution == "path":
                gradients, result["baseline_logits"] = self._path_gradients(task, part)
            else:
                gradients = part.gradients[task.layer][0]
            result["effects"] = neuron_effects(layer, gradients, channels).permute(2, 3, 0, 1)
            result["class_logits"] = part.logits[0, classes]
        if task.vectors:
            rows, columns = torch.tensor(task.vectors).T
            result["vectors"] = layer[:, rows, columns].T
        return result

    def _path_gradients(self, task: DictionaryTask, part: Part) -> tuple[Tensor, Tensor]:
        def logits_of(points: Tensor) -> Tensor:
            return self._logits_with(task.model, part.pixels.expand(len(points), -1, -1, -1), task.layer, points)

        return path_gradients(part.layers[task.layer][0], part.classes[0], logits_of, task.steps)

    def _masked_groups(self, task: MaskedGroupsTask, given: Arrays) -> dict[str, Tensor]:
        spatial, directions, masks = (
            torch.from_numpy(given[name]).to(self._device) for name in ("spatial", "directions", "masks")
        )
        outputs = reconstruction(spatial * masks[:, None, None], directions)
        image = self._normalize(self._models[task.model], self._on_device(given["images"]))
        pixels = image.expand(len(outputs), -1, -1, -1)
        logits = self._logits_with(task.model, pixels, task.layer, outputs)
        return {"logits": logits[:, list(task.classes)]}

    def _logits_with(self, name: str, pixels: Tensor, layer: str, outputs: Tensor) -> Tensor:
        """Return the logits that a network has where `layer` gives `outputs`; if it can, without what comes before."""
        model = self._models[name]
        if (name, layer) not in self._cuts:
            self._cuts[name, layer] = can_be_cut(model.network, model.description.input_shape, layer)
        with self._in_precision():  # the network's own logits are of this precision too
            inputs = pixels[:1] if self._cuts[name, layer] else pixels
            return logits_with(model.network, inputs, layer, outputs).float()

    def _forward(
        self, tasks: Sequence[ImageTask], inputs: Sequence[Arrays], threads: int, copied: Copied | None
    ) -> list[Part]:
        """Run the network once on everybody's images, no deeper than somebody needs it."""
        model = self._models[tasks[0].model]
        layers = list(dict.fromkeys(path for task in tasks for path in _layers(task)))
        explained = list(dict.fromkeys(path for task in tasks for path in _explained_layers(task)))
        logits = any(task.class_count or task.classes for task in tasks)
        pixels = self._normalize(model, copied.get() if copied else self._on_device(_images(inputs)))
        if model.exported and not explained:
            captured = model.exported.capture(pixels, layers, logits=logits, threads=threads)
        elif model.compiled and not explained and model.compiled.has(layers):
            with self._in_precision():
                captured = model.compiled.capture(pixels, layers, logits=logits)
        else:
            with torch.set_grad_enabled(bool(explained)), self._in_precision():
                captured = capture(model.network, pixels, layers, logits=logits, gradients=explained)
        counts = [len(arrays["images"]) for arrays in inputs]
        slices = [slice(end - count, end) for end, count in zip(np.cumsum(counts), counts, strict=True)]
        classes = [_explained_classes(task, captured, part) for task, part in zip(tasks, slices, strict=True)]
        gradients = _gradients(captured, explained, classes)
        return [
            Part(
                given,
                pixels[part],
                {path: captured.layers[path][part].detach().float() for path in _layers(task)},
                None if captured.logits is None else captured.logits[part].detach().float(),
                chosen,
                {path: gradients[path][part, : chosen.shape[1]].float() for path in _explained_layers(task)},
            )
            for task, given, part, chosen in zip(tasks, inputs, slices, classes, strict=True)
        ]

    def _in_precision(self) -> torch.autocast:
        lower = self._precision is not torch.float32
        return torch.autocast(self._device.type, self._precision, enabled=lower)

    def _on_device(self, images: NDArray[np.generic]) -> Tensor:
        tensor = torch.from_numpy(images)
        if self._device.type == "cuda":
            tensor = tensor.pin_memory()  # the device fetches it itself, while this process goes on
        return tensor.to(self._device, non_blocking=True)

    def _normalize(self, model: ServedModel, images: Tensor) -> Tensor:
        """[N, H, W, 3] pixels become [N, 3, H, W], normalized on the device."""
        if images.dtype != torch.uint8:
            return images
        preprocessing = model.description.preprocessing
        mean = torch.tensor(preprocessing.mean, device=self._device).view(3, 1, 1)
        std = torch.tensor(preprocessing.std, device=self._device).view(3, 1, 1)
        # Planes, as ONNX Runtime takes them: it would spend longer on rearranging floats than this does on bytes.
        planes = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        return planes.div_(255).sub_(mean).div_(std)

    def _render(self, task: RenderTask, arrays: Arrays) -> dict[str, Tensor]:
        model = self._models[task.model]
        state = (
            feature_visualization.State.from_arrays(dict(arrays), device=self._device)
            if arrays
            else feature_visualization.start(task.recipe, task.objectives, device=self._device)
        )
        state = feature_visualization.advance(
            model.network,
            task.layer,
            task.objectives,
            task.recipe,
            state,
            preprocessing=model.description.preprocessing,
            until=_before(time.monotonic() + task.seconds),
        )
        result = {name: torch.from_numpy(array) for name, array in state.to_arrays().items()}
        if state.step >= task.recipe.steps:
            result["pictures"] = feature_visualization.pictures(state, task.recipe)
        return result


def _before(end: float) -> Callable[[], bool]:
    """Return what says after each step whether to stop, as another one like those so far would not end in time."""
    started, steps = time.monotonic(), itertools.count(1)

    def until() -> bool:
        now = time.monotonic()
        return now + (now - started) / next(steps) > end

    return until


def _images(inputs: Sequence[Arrays]) -> NDArray[np.generic]:
    """Return everybody's images as one array, [N, ...]."""
    return np.concatenate([arrays["images"] for arrays in inputs])


def _layers(task: ImageTask) -> tuple[str, ...]:
    match task:
        case ActivationsTask() | IndexTask() | FactorizeLayersTask():
            return task.layers
        case DictionaryTask() | FactorizeTask():
            return (task.layer,)
    raise TypeError(f"{task} starts from no layer")


def _explained_layers(task: ImageTask) -> tuple[str, ...]:
    """The layers that the task needs logits' gradients with respect to."""
    if not _explains(task) or (isinstance(task, DictionaryTask) and task.attribution == "path"):
        return ()
    return _layers(task)


def _explains(task: ImageTask) -> bool:
    """Whether it asks for effects on classes."""
    if isinstance(task, DictionaryTask) and task.attribution == "none":
        return False
    return isinstance(task, DictionaryTask | FactorizeTask | FactorizeLayersTask) and bool(
        task.class_count or task.classes
    )


def _explained_classes(task: ImageTask, captured: Captured, part: slice) -> Tensor:
    """Return int64 [N, M]: the logits whose gradients the task needs."""
    if captured.logits is None or not _explains(task):
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


def _in_memory(result: dict[str, Tensor] | Refusal | Failure) -> Result:
    if not isinstance(result, dict):
        return result
    return {name: tensor.detach().cpu().numpy() for name, tensor in result.items()}


def _activations(task: ActivationsTask, part: Part) -> dict[str, Tensor]:
    return {
        path: select(
            part.layers[path],
            reduction=task.reduction,
            channels=task.channels,
            positions=task.positions,
            half=task.half,
        )
        for path in task.layers
    }


def _index(task: IndexTask, part: Part) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    for path in task.layers:
        result[f"{path} peaks"], result[f"{path} positions"] = peaks(part.layers[path])
        result[f"{path} bins"], result[f"{path} counts"] = bin_counts(part.layers[path])
    return result
