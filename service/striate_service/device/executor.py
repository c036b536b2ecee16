"""Run a batch: one forward pass for all tasks that start from images, then each technique on its own tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from striate_service.device.networks import DeviceNetworks
from striate_service.device.staging import CopyStream, EarlyCopy
from striate_service.models.description import LayerDescription
from striate_service.models.layers import Captured
from striate_service.models.layouts import prefix_of, to_map
from striate_service.models.outputs import probabilities
from striate_service.techniques.attribution import class_gradients
from striate_service.techniques.max_pooling import MaxPools
from striate_service.techniques.outcomes import Failure, Refusal
from striate_service.techniques.tasks.base import Array, ForwardNeeds, ForwardSlice, Predictions, Task, Work, to_array


class Executor:
    """Runs batches on a worker's device."""

    def __init__(self, networks: DeviceNetworks, *, copies_early: bool = False) -> None:
        self.networks = networks
        on_gpu = networks.device.type == "cuda"
        self._copy_stream = CopyStream(networks.device) if copies_early and on_gpu else None

    @property
    def copies_early(self) -> bool:
        """Whether images are copied to the device before their batch runs."""
        return self._copy_stream is not None

    def copy_early(self, works: Sequence[Work]) -> EarlyCopy | None:
        """Begin to copy images to the device for a later `run`; None: not done early."""
        if self._copy_stream is None or works[0].task.forward is None:
            return None
        try:
            return self._copy_stream.copy(_images(works))
        except Exception:  # `run` copies again, with more free memory, or reports the error
            return None

    def run(
        self, works: Sequence[Work], *, images_at_once: int, threads: int = 1, copied: EarlyCopy | None = None
    ) -> list[Any | Refusal | Failure]:
        """Run the tasks of a batch, and return their outcomes in order.

        A task that is refused or fails does not affect the others; an exception means that the shared work failed.

        Args:
            images_at_once: images in one forward pass; larger batches take several passes.
            threads: threads that an exported network may use.
            copied: the works' images, if they were copied early.
        """
        forwards = self._forwards(works, images_at_once, threads, copied)
        by_technique: dict[type[Task[Any]], list[int]] = defaultdict(list)
        for number, work in enumerate(works):
            by_technique[type(work.task)].append(number)
        outcomes: dict[int, Any] = {}
        for technique, numbers in by_technique.items():
            tasks = [works[number].task for number in numbers]
            results = technique.run_batch(tasks, [forwards[number] for number in numbers], self.networks)
            outcomes |= zip(numbers, results, strict=True)
        return [outcomes[number] for number in range(len(works))]

    def _forwards(
        self, works: Sequence[Work], images_at_once: int, threads: int, copied: EarlyCopy | None
    ) -> Sequence[ForwardSlice | None]:
        """Run the network on all images of the batch, up to the last layer that a task needs."""
        needs = [work.task.forward for work in works]
        if any(need is None for need in needs):
            return [None] * len(works)
        model, shared = works[0].task.model, _SharedNeeds([need for need in needs if need])
        images = copied.get() if copied else self.networks.to_device(_images(works))
        counts = [len(work.images) for work in works if work.images is not None]
        rows = [slice(end - count, end) for end, count in zip(np.cumsum(counts).tolist(), counts, strict=True)]
        pixels = self.networks.normalized(model, images)
        captured = self._capture(model, pixels, shared, rows, images_at_once, threads)
        return [captured.slice_for(need, own) for need, own in zip(shared.needs, rows, strict=True)]

    def _capture(
        self, model: str, pixels: Tensor, shared: _SharedNeeds, rows: Sequence[slice], images_at_once: int, threads: int
    ) -> _Captured:
        """Run the network on all images, `images_at_once` at a time, and keep what the tasks need.

        Args:
            rows: each task's rows of `pixels`.
        """

        smooth = shared.smooth_rows(rows)
        pools = MaxPools() if smooth.any() else None

        def forward(part: slice, layers: Sequence[str], gradients: Sequence[str]) -> Captured:
            with pools if pools and gradients else nullcontext():
                return self.networks.forward(
                    model, pixels[part], layers, logits=shared.logits, gradients=gradients, threads=threads
                )

        activation = self.networks.activation(model)
        starts = range(0, len(pixels), images_at_once)
        parts = [slice(start, min(start + images_at_once, len(pixels))) for start in starts]
        classes: Sequence[Tensor] | None = None
        if shared.gradient_layers and len(parts) > 1:
            # A request's most probable classes depend on all of its images, so all logits are computed first.
            every = torch.cat([_logits(forward(part, [], [])) for part in parts])
            classes = _explained_classes(shared.needs, rows, every, activation)
        layers: dict[str, list[Tensor]] = defaultdict(list)
        gradients: dict[str, list[Tensor]] = defaultdict(list)
        logits: list[Tensor] = []
        for part in parts:
            captured = forward(part, shared.layers, shared.gradient_layers)
            for path, output in captured.layers.items():
                layers[path].append(output.detach().float())
            if shared.logits:
                logits.append(_logits(captured).detach().float())
            if shared.gradient_layers:
                classes = classes or _explained_classes(shared.needs, rows, logits[0], activation)
                chosen = _padded(classes)[part]
                for path in shared.gradient_layers:
                    gradient = _gradients(_logits(captured), captured.layers[path], chosen, pools, smooth[part])
                    gradients[path].append(gradient.float())
        all_logits = _joined(logits) if shared.logits else None
        return _Captured(
            pixels,
            {path: _joined(pieces) for path, pieces in layers.items()},
            all_logits,
            dict(
                zip(
                    map(_bounds, rows),
                    classes or _explained_classes(shared.needs, rows, all_logits, activation),
                    strict=True,
                )
            ),
            {path: _joined(pieces) for path, pieces in gradients.items()},
            {path: self.networks.layer(model, path) for path in layers},
            activation,
        )


class _SharedNeeds:
    """What the tasks of a batch together need from the forward pass."""

    def __init__(self, needs: Sequence[ForwardNeeds]) -> None:
        self.needs = needs
        self.layers = list(dict.fromkeys(path for need in needs for path in need.layers))
        self.gradient_layers = list(dict.fromkeys(path for need in needs for path in need.gradient_layers))
        self.logits = any(need.logits for need in needs)

    def smooth_rows(self, rows: Sequence[slice]) -> NDArray[np.bool_]:
        """Return of which images the gradients pass max pools as `techniques.max_pooling` says: [N].

        Args:
            rows: each task's images.
        """
        smooth = np.zeros(rows[-1].stop, bool)
        for need, own in zip(self.needs, rows, strict=True):
            smooth[own] = need.smooth_max_pool and bool(need.gradient_layers)
        return smooth


@dataclass(frozen=True)
class _Captured:
    """The outputs of the forward pass for all images of a batch."""

    pixels: Tensor
    layers: dict[str, Tensor]
    """As the modules returned them."""
    logits: Tensor | None
    classes: dict[tuple[int, int], Tensor]
    """By the bounds of a task's rows: int64 [N, M], the explained logits."""
    gradients: dict[str, Tensor]
    """[N, M, *layer shape]"""
    described: dict[str, LayerDescription]
    activation: str

    def slice_for(self, need: ForwardNeeds, rows: slice) -> ForwardSlice:
        """Return a task's part of the outputs."""
        logits, classes = None if self.logits is None else self.logits[rows], self.classes[_bounds(rows)]
        outputs = {path: self.layers[path][rows] for path in need.layers}
        gradients = {path: self.gradients[path][rows, : classes.shape[1]] for path in need.gradient_layers}
        return ForwardSlice(
            pixels=self.pixels[rows],
            layers=outputs if need.whole_outputs else self._converted(to_map, outputs),
            prefix={} if need.whole_outputs else self._converted(prefix_of, outputs),
            logits=logits,
            classes=classes,
            gradients=self._converted(to_map, gradients),
            prefix_gradients=self._converted(prefix_of, gradients),
            predictions=_predictions(need.class_count, logits, self.activation),
        )

    def _converted(
        self, convert: Callable[[Tensor, LayerDescription], Tensor], outputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        return {path: convert(output, self.described[path]) for path, output in outputs.items()}


def _images(works: Sequence[Work]) -> Array:
    """Return the images of all tasks as one array, [N, ...]."""
    return np.concatenate([work.images for work in works if work.images is not None])


def _bounds(rows: slice) -> tuple[int, int]:
    return rows.start, rows.stop


def _gradients(
    logits: Tensor, layer: Tensor, classes: Tensor, pools: MaxPools | None, smooth: NDArray[np.bool_]
) -> Tensor:
    """Return `class_gradients`, those of some images through smoothed max pools.

    What one caller asks leaves others' gradients as they are, so a mixed batch is differentiated both ways.

    Args:
        pools: of the forward pass; None where no image is smooth.
        smooth: [N].
    """
    if pools is None or not smooth.any():
        return class_gradients(logits, layer, classes)
    with pools.smoothed():
        smoothed = class_gradients(logits, layer, classes)
    if smooth.all():
        return smoothed
    chosen = torch.from_numpy(smooth).to(layer.device).view(-1, *[1] * (smoothed.dim() - 1))
    return torch.where(chosen, smoothed, class_gradients(logits, layer, classes))


def _logits(captured: Captured) -> Tensor:
    assert captured.logits is not None, "a forward that was to run to its end gives logits"
    return captured.logits


def _joined(pieces: Sequence[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces))


def _explained_classes(
    needs: Sequence[ForwardNeeds], rows: Sequence[slice], logits: Tensor | None, activation: str
) -> list[Tensor]:
    """Return the logits that each task explains: int64 [N, M]."""
    return [_classes_of(need, own, logits, activation) for need, own in zip(needs, rows, strict=True)]


def _classes_of(need: ForwardNeeds, rows: slice, logits: Tensor | None, activation: str) -> Tensor:
    count = rows.stop - rows.start
    if logits is None or not need.explains:
        device = None if logits is None else logits.device
        return torch.empty(count, 0, dtype=torch.int64, device=device)
    if need.classes:
        chosen = torch.tensor(need.classes, device=logits.device)
    else:
        mean = probabilities(logits[rows].detach().float(), activation).mean(0)
        chosen = mean.argsort(descending=True, stable=True)[: need.class_count]
    return chosen.expand(count, -1)


def _padded(classes: Sequence[Tensor]) -> Tensor:
    """Return the classes of all images as one tensor, int64 [N, M], where M is the most that a task explains."""
    most = max(chosen.shape[1] for chosen in classes)
    return torch.cat([torch.nn.functional.pad(chosen, (0, most - chosen.shape[1])) for chosen in classes])


def _predictions(count: int, logits: Tensor | None, activation: str) -> Predictions | None:
    if logits is None or not count:
        return None
    predicted = logits.argsort(dim=1, descending=True, stable=True)[:, :count]
    return Predictions(
        classes=to_array(predicted.int()),
        probabilities=to_array(probabilities(logits, activation).gather(1, predicted)),
        logits=to_array(logits.gather(1, predicted)),
    )
