"""What the tasks of a batch explain: their targets, with values and gradients, gathered one forward at a time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from striate_service.models.layers import Captured
from striate_service.models.outputs import Answer, probabilities
from striate_service.techniques.attribution import target_gradients
from striate_service.techniques.max_pooling import MaxPools
from striate_service.techniques.outcomes import Failure, Refusal, outcome_of
from striate_service.techniques.target_values import target_values
from striate_service.techniques.targets import Output, Target
from striate_service.techniques.tasks.base import ForwardNeeds


class Explained:
    """One task's targets. Tasks that share a batch have their own numbers of images and targets, and keep no more."""

    def __init__(self, need: ForwardNeeds, rows: slice, targets: tuple[Target, ...]) -> None:
        """Begin with nothing.

        Args:
            rows: of the task's images in the batch.
        """
        self.targets = targets
        self.gradients: dict[str, Tensor] = {}
        """By layer: float32 [N, M, *layer shape]."""
        self.problem: Refusal | Failure | None = None
        """Why there are no values."""
        self.is_smooth = need.smooth_max_pool
        """Whether gradients pass max pools as `techniques.max_pooling` says."""
        self._layers = need.gradient_layers if targets else ()
        self._rows = rows
        self._values: list[Tensor] = []

    @property
    def values(self) -> Tensor:
        """float32 [N, M]"""
        return torch.cat(self._values) if self._values else torch.zeros(self._rows.stop - self._rows.start, 0)

    def read(self, answer: Answer, part: slice) -> Tensor | None:
        """Keep the targets' values in one part of the batch, and return those that are to be differentiated.

        Args:
            answer: of the network for the images of `part`.
        """
        rows = self.rows_in(part)
        if not self.targets or self.problem or rows.start >= rows.stop:
            return None
        values = outcome_of(target_values, answer, rows, self.targets)
        if isinstance(values, Refusal | Failure):
            self.problem = values
            return None
        self._values.append(values.detach())
        return values if self._layers else None

    def keep(self, number: int, gradients: dict[str, Tensor], part: slice) -> None:
        """Keep the gradients of one target in one part of the batch.

        Args:
            gradients: by layer, [images of the part, *layer shape].
        """
        if number >= len(self.targets):
            return
        rows, count = self.rows_in(part), self._rows.stop - self._rows.start
        first = part.start + rows.start - self._rows.start
        for path in self._layers:
            gradient = gradients[path][rows]
            if path not in self.gradients:
                shape = (count, len(self.targets), *gradient.shape[1:])
                self.gradients[path] = gradient.new_zeros(shape, dtype=torch.float32)
            self.gradients[path][first : first + len(gradient), number] = gradient

    def rows_in(self, part: slice) -> slice:
        """Return which rows of a part of the batch are the task's; of no length where none are."""
        start, stop = max(self._rows.start, part.start), min(self._rows.stop, part.stop)
        return slice(start - part.start, max(start, stop) - part.start)


def explain(
    tasks: Sequence[Explained], captured: Captured, layers: Sequence[str], part: slice, pools: MaxPools | None = None
) -> None:
    """Add the values and gradients of one part of the batch to what the tasks have.

    What one caller asks leaves others' gradients as they are, so a mixed batch is differentiated both ways.

    Args:
        captured: the forward of the part, with gradients on where there are `layers`.
        layers: all with respect to which some task's targets are differentiated.
        pools: of the forward; None where no task is smooth.
    """
    assert captured.answer is not None, "a forward for targets is the network's own"
    read = [(task, values) for task in tasks if (values := task.read(captured.answer, part)) is not None]
    outputs = [captured.layers[path] for path in layers]
    for is_smooth in (False, True):
        alike = [(task, values) for task, values in read if task.is_smooth == is_smooth]
        with pools.smoothed() if pools and is_smooth else nullcontext():
            for number, gradients in enumerate(target_gradients([values for _, values in alike], outputs)):
                for task, _ in alike:
                    task.keep(number, dict(zip(layers, gradients, strict=True)), part)


def explained_targets(
    needs: Sequence[ForwardNeeds], rows: Sequence[slice], logits: Tensor, activation: str
) -> list[tuple[Target, ...]]:
    """Return what each task explains.

    Args:
        logits: [images of the batch, classes].
    """
    return [_targets_of(need, logits[own], activation) for need, own in zip(needs, rows, strict=True)]


def _targets_of(need: ForwardNeeds, logits: Tensor, activation: str) -> tuple[Target, ...]:
    if not need.explains or need.targets:
        return need.targets if need.explains else ()
    mean = probabilities(logits.detach().float(), activation).mean(0)
    return tuple(map(Output, mean.argsort(descending=True, stable=True)[: need.class_count].tolist()))
