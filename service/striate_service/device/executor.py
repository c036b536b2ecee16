"""Run a batch: one forward pass for all tasks that start from images, then each technique on its own tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate_service.device.explained import Explained, explain, explained_targets
from striate_service.device.networks import DeviceNetworks
from striate_service.device.staging import CopyStream, EarlyCopy
from striate_service.models.description import LayerDescription
from striate_service.models.layers import Captured
from striate_service.models.layouts import prefix_of, to_map
from striate_service.models.outputs import probabilities
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
        by_technique: dict[type[Task[Any]], list[tuple[int, ForwardSlice | None]]] = defaultdict(list)
        outcomes: dict[int, Any] = {}
        for number, (work, forward) in enumerate(zip(works, forwards, strict=True)):
            if isinstance(forward, Refusal | Failure):
                outcomes[number] = forward
            else:
                by_technique[type(work.task)].append((number, forward))
        for technique, members in by_technique.items():
            tasks = [works[number].task for number, _ in members]
            results = technique.run_batch(tasks, [forward for _, forward in members], self.networks)
            outcomes |= zip([number for number, _ in members], results, strict=True)
        return [outcomes[number] for number in range(len(works))]

    def _forwards(
        self, works: Sequence[Work], images_at_once: int, threads: int, copied: EarlyCopy | None
    ) -> Sequence[ForwardSlice | Refusal | Failure | None]:
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
        return [
            captured.slice_for(need, own, explained)
            for need, own, explained in zip(shared.needs, rows, captured.explained, strict=True)
        ]

    def _capture(
        self, model: str, pixels: Tensor, shared: _SharedNeeds, rows: Sequence[slice], images_at_once: int, threads: int
    ) -> _Captured:
        """Run the network on all images, `images_at_once` at a time, and keep what the tasks need.

        Args:
            rows: each task's rows of `pixels`.
        """

        pools = MaxPools() if shared.is_smooth else None

        def forward(part: slice, layers: Sequence[str], gradients: Sequence[str]) -> Captured:
            with pools if pools and gradients else nullcontext():
                return self.networks.forward(
                    model,
                    pixels[part],
                    layers,
                    logits=shared.logits,
                    answer=shared.explains and bool(layers),
                    gradients=gradients,
                    threads=threads,
                )

        activation = self.networks.activation(model)
        starts = range(0, len(pixels), images_at_once)
        parts = [slice(start, min(start + images_at_once, len(pixels))) for start in starts]
        explained: list[Explained] = []
        if shared.explains_probable and len(parts) > 1:
            # A request's most probable classes depend on all of its images, so all logits are computed first.
            every = torch.cat([_logits(forward(part, [], [])) for part in parts])
            explained = _explained(shared.needs, rows, every, activation)
        layers: dict[str, list[Tensor]] = defaultdict(list)
        logits: list[Tensor] = []
        for part in parts:
            captured = forward(part, shared.layers, shared.gradient_layers)
            for path, output in captured.layers.items():
                layers[path].append(output.detach().float())
            if shared.logits:
                logits.append(_logits(captured).detach().float())
            if shared.explains:
                explained = explained or _explained(shared.needs, rows, logits[0], activation)
                explain(explained, captured, shared.gradient_layers, part, pools)
        all_logits = _joined(logits) if shared.logits else None
        return _Captured(
            pixels,
            {path: _joined(pieces) for path, pieces in layers.items()},
            all_logits,
            explained or [Explained(need, own, ()) for need, own in zip(shared.needs, rows, strict=True)],
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
        self.explains = any(need.explains for need in needs)
        self.explains_probable = any(need.explains and not need.targets for need in needs)
        self.is_smooth = any(need.smooth_max_pool and need.gradient_layers for need in needs)


@dataclass(frozen=True)
class _Captured:
    """The outputs of the forward pass for all images of a batch."""

    pixels: Tensor
    layers: dict[str, Tensor]
    """As the modules returned them."""
    logits: Tensor | None
    explained: Sequence[Explained]
    """One a task."""
    described: dict[str, LayerDescription]
    activation: str

    def slice_for(self, need: ForwardNeeds, rows: slice, explained: Explained) -> ForwardSlice | Refusal | Failure:
        """Return a task's part of the outputs, or why it has none."""
        if explained.problem:
            return explained.problem
        logits = None if self.logits is None else self.logits[rows]
        outputs = {path: self.layers[path][rows] for path in need.layers}
        return ForwardSlice(
            pixels=self.pixels[rows],
            layers=outputs if need.whole_outputs else self._converted(to_map, outputs),
            prefix={} if need.whole_outputs else self._converted(prefix_of, outputs),
            logits=logits,
            targets=explained.targets,
            values=explained.values,
            gradients=self._converted(to_map, explained.gradients),
            prefix_gradients=self._converted(prefix_of, explained.gradients),
            predictions=_predictions(need.class_count, logits, self.activation),
        )

    def _converted(
        self, convert: Callable[[Tensor, LayerDescription], Tensor], outputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        return {path: convert(output, self.described[path]) for path, output in outputs.items()}


def _images(works: Sequence[Work]) -> Array:
    """Return the images of all tasks as one array, [N, ...]."""
    return np.concatenate([work.images for work in works if work.images is not None])


def _logits(captured: Captured) -> Tensor:
    assert captured.logits is not None, "a forward that was to run to its end gives logits"
    return captured.logits


def _joined(pieces: Sequence[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces))


def _explained(
    needs: Sequence[ForwardNeeds], rows: Sequence[slice], logits: Tensor, activation: str
) -> list[Explained]:
    targets = explained_targets(needs, rows, logits, activation)
    return [Explained(need, own, chosen) for need, own, chosen in zip(needs, rows, targets, strict=True)]


def _predictions(count: int, logits: Tensor | None, activation: str) -> Predictions | None:
    if logits is None or not count:
        return None
    predicted = logits.argsort(dim=1, descending=True, stable=True)[:, :count]
    return Predictions(
        classes=to_array(predicted.int()),
        probabilities=to_array(probabilities(logits, activation).gather(1, predicted)),
        logits=to_array(logits.gather(1, predicted)),
    )
