"""What every technique answers for itself, so that scheduler, engine and executor ask it and nothing else.

- which layers it reads, and whether it needs their gradients or logits (`Task.forward`);
- what it costs, from shapes alone (`Task.cost`);
- how it runs on a batch (`Task.run_batch`), and what comes out: a named dataclass of arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from numpy.typing import NDArray

from striate_service.models.description import ModelDescription, Preprocessing
from striate_service.techniques.costs import Cost
from striate_service.techniques.outcomes import Failure, Refusal, outcome_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from typing_extensions import Self

Array = NDArray[Any]
R = TypeVar("R")


@dataclass(frozen=True)
class ForwardNeeds:
    """What a task needs of the forward that it shares with other tasks on the same model."""

    layers: tuple[str, ...]
    """Paths of those whose outputs it reads."""
    gradient_layers: tuple[str, ...] = ()
    """Those of them that the explained logits are differentiated with respect to."""
    classes: tuple[int, ...] = ()
    """Explain these logits. Empty: the most probable ones."""
    class_count: int = 0
    """How many of the most probable classes to predict and, where `classes` is empty, to explain."""
    explains: bool = False
    """Whether it explains classes, or only predicts them."""

    @property
    def logits(self) -> bool:
        """Whether the network has to run to its end."""
        return bool(self.class_count or self.classes)


@dataclass(frozen=True)
class Predictions:
    """The most probable classes of N images, best first."""

    classes: Array
    """int32 [N, M]"""
    probabilities: Array
    """[N, M]"""
    logits: Array
    """[N, M]"""


@dataclass(frozen=True)
class ForwardSlice:
    """What the shared forward computed for the N images of one task, on the worker's device."""

    pixels: Tensor
    """[N, 3, H, W], normalized."""
    layers: dict[str, Tensor]
    """By path, float32 [N, *layer shape]."""
    logits: Tensor | None
    """float32 [N, classes]"""
    classes: Tensor
    """int64 [N, M]: the logits that are explained."""
    gradients: dict[str, Tensor]
    """By layer, float32 [N, M, C, H, W]."""
    predictions: Predictions | None
    """As many as the task asked for; None where it asked for none."""


class Networks(Protocol):
    """What a worker's device offers to techniques beside the shared forward."""

    device: torch.device

    def to_device(self, array: Array) -> Tensor:
        """Copy an array to the device."""
        ...

    def module(self, model: str) -> nn.Module:
        """Return a network, in evaluation mode, without gradients of its parameters."""
        ...

    def preprocessing(self, model: str) -> Preprocessing: ...

    def inputs(self, model: str, images: Array) -> Tensor:
        """Return images, as `ImageTask` takes them, as the network's input: [N, 3, H, W], normalized."""
        ...

    def logits_with(self, model: str, pixels: Tensor, layer: str, outputs: Tensor) -> Tensor:
        """Return the logits [N, classes] where `layer` gives `outputs` [N, *layer shape] instead of its own."""
        ...


@dataclass(frozen=True, eq=False)
class Task(Generic[R]):
    """One question to a worker. R: what answers it, a frozen dataclass of arrays."""

    too_costly: ClassVar[tuple[str, str]]
    """The request's field that makes such a task large, and what a caller can do about it."""

    is_reply: ClassVar[bool] = True
    """Whether its result is sent to the caller, more or less as it is."""

    model: str
    """Its name. Empty: the task needs none."""

    @property
    def kind(self) -> str:
        """What tasks of this technique are called in metrics."""
        return type(self).__name__.removesuffix("Task").lower()

    @property
    def rate_key(self) -> str:
        """Tasks with the same one take time in one proportion to their `Cost.forwards`."""
        return self.kind

    @property
    def forward(self) -> ForwardNeeds | None:
        """What it needs of a forward that it shares with others; None: it starts from no images."""
        return None

    def cost(self, model: ModelDescription | None, images: int) -> Cost:
        """Return what it takes on so many images. `model` is the one that it names."""
        raise NotImplementedError

    def run(self, forward: ForwardSlice | None, networks: Networks) -> R:
        """Carry it out, inside a worker.

        Args:
            forward: what it asked for in `forward`.

        Raises:
            Refused: it cannot be done, and the caller can mend it.
        """
        raise NotImplementedError

    @classmethod
    def run_batch(
        cls, tasks: Sequence[Self], forwards: Sequence[ForwardSlice | None], networks: Networks
    ) -> list[R | Refusal | Failure]:
        """Carry out tasks of this technique that share a batch; by default one after the other.

        A task that is refused or fails leaves the others alone.
        """
        return [outcome_of(task.run, forward, networks) for task, forward in zip(tasks, forwards, strict=True)]


@dataclass(frozen=True, eq=False)
class ImageTask(Task[R]):
    """Starts from images, so it shares one forward with every other task on the same model and kind of input.

    The images come beside it: uint8 [N, H, W, 3] of the model's input size, or float32 [N, 3, H, W], preprocessed.
    """

    classes: tuple[int, ...]
    """Explain these logits. Empty: the most probable ones."""
    class_count: int
    """How many of the most probable classes to predict and, where `classes` is empty, to explain."""

    @property
    def class_number(self) -> int:
        """How many classes are explained."""
        return len(self.classes) or self.class_count


@dataclass(frozen=True, eq=False)
class Work:
    """A task on its way to a worker, with the images that it starts from."""

    task: Task[Any]
    images: Array | None = None
    """As `ImageTask` takes them; None: it starts from none."""


def to_array(tensor: Tensor) -> Array:
    """Return a tensor's values in the process's memory, contiguous: so they go to shared memory without a copy."""
    array: Array = tensor.detach().cpu().contiguous().numpy()
    return array
