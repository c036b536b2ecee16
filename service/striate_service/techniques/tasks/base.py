"""What every technique defines, so that scheduler, engine and executor know no single technique.

- which layers it reads, and whether it needs their gradients or logits (`Task.forward`);
- what it costs, from shapes alone (`Task.cost`);
- how it runs on a batch (`Task.run_batch`), and its result, a named dataclass of arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from numpy.typing import NDArray

from striate_service.models.description import LayerDescription, ModelDescription, Preprocessing
from striate_service.techniques.costs import Cost
from striate_service.techniques.outcomes import Failure, Refusal, outcome_of
from striate_service.techniques.targets import Embedding, Target

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from typing_extensions import Self

Array = NDArray[Any]
R = TypeVar("R")


@dataclass(frozen=True)
class ForwardNeeds:
    """What a task needs from the forward pass that it shares with other tasks on the same model."""

    layers: tuple[str, ...]
    """Paths of the layers whose outputs the task reads."""
    gradient_layers: tuple[str, ...] = ()
    """Those of `layers` with respect to which the targets are differentiated."""
    targets: tuple[Target, ...] = ()
    """Explain these. Empty: the logits of the most probable classes."""
    class_count: int = 0
    """How many of the most probable classes to predict and, where `targets` is empty, to explain."""
    explains: bool = False
    """Whether the task explains targets, or only predicts classes."""
    smooth_max_pool: bool = False
    """Whether gradients pass max pools as `techniques.max_pooling` says."""
    whole_outputs: bool = False
    """Whether the task takes outputs as the modules return them, in place of maps."""

    @property
    def logits(self) -> bool:
        """Whether the network has to run to its end."""
        return bool(self.class_count or self.targets)


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
    """The outputs of the shared forward pass for the N images of one task, on the worker's device."""

    pixels: Tensor
    """[N, 3, H, W], normalized."""
    layers: dict[str, Tensor]
    """By path, float32: maps [N, C, H, W], or [N, *layer shape] for a task that takes whole outputs."""
    prefix: dict[str, Tensor]
    """By path, float32 [N, C, T]: the tokens before the first position. T is 0 where a layer has none."""
    logits: Tensor | None
    """float32 [N, classes]; classes are 0 where the network classifies nothing."""
    targets: tuple[Target, ...]
    """M: what is explained."""
    values: Tensor
    """float32 [N, M], of `targets`."""
    gradients: dict[str, Tensor]
    """By layer, float32 [N, M, C, H, W]."""
    prefix_gradients: dict[str, Tensor]
    """By layer, float32 [N, M, C, T]."""
    predictions: Predictions | None
    """None where the task asked for none."""


class Networks(Protocol):
    """What a worker offers to techniques besides the shared forward pass."""

    device: torch.device

    def to_device(self, array: Array) -> Tensor:
        """Copy an array to the device."""
        ...

    def others_wait(self) -> bool:
        """Return whether another batch waits for this process; what can go on later makes way for it."""
        ...

    def module(self, model: str) -> nn.Module:
        """Return a network in evaluation mode, whose parameters require no gradients."""
        ...

    def preprocessing(self, model: str) -> Preprocessing: ...

    def activation(self, model: str) -> str:
        """Return what makes probabilities of a model's logits: "softmax", "sigmoid" or "none"."""
        ...

    def layer(self, model: str, path: str) -> LayerDescription: ...

    def inputs(self, model: str, images: Array) -> Tensor:
        """Return the network's input [N, 3, H, W], normalized, for images as `ImageTask` takes them."""
        ...

    def logits_with(self, model: str, pixels: Tensor, layer: str, maps: Tensor) -> Tensor:
        """Return the logits [N, classes] with the map of `layer` replaced by `maps` [N, C, H, W]."""
        ...

    def values_with(
        self,
        model: str,
        pixels: Tensor,
        layer: str,
        maps: Tensor,
        targets: Sequence[Target],
        prefix: Tensor | None = None,
    ) -> Tensor:
        """Return the values [N, M] of targets other than boxes, likewise, and with other prefix tokens [N, C, T] where
        these are given."""
        ...


@dataclass(frozen=True, eq=False)
class Task(Generic[R]):
    """One task for a worker. R: its result, a frozen dataclass of arrays."""

    too_costly: ClassVar[tuple[str, str]]
    """The request's field that makes a task too costly, and how a caller can reduce the cost."""

    is_reply: ClassVar[bool] = True
    """Whether the reply to the caller is about as large as the result."""

    model: str
    """The model's name. Empty: the task needs none."""

    @property
    def kind(self) -> str:
        """The technique's name in metrics."""
        return type(self).__name__.removesuffix("Task").lower()

    @property
    def rate_key(self) -> str:
        """Tasks with equal keys take equal time for each of their `Cost.forwards`."""
        return self.kind

    @property
    def forward(self) -> ForwardNeeds | None:
        """What the task needs from a shared forward pass; None: it starts from no images."""
        return None

    def cost(self, model: ModelDescription | None, images: int) -> Cost:
        """Return the cost for `images` images. `model` describes `self.model`; None where the task needs no model."""
        raise NotImplementedError

    def run(self, forward: ForwardSlice | None, networks: Networks) -> R:
        """Run the task inside a worker.

        Args:
            forward: what `self.forward` asked for.

        Raises:
            Refused: the task cannot be done, and the caller can fix the request.
        """
        raise NotImplementedError

    @classmethod
    def run_batch(
        cls, tasks: Sequence[Self], forwards: Sequence[ForwardSlice | None], networks: Networks
    ) -> list[R | Refusal | Failure]:
        """Run tasks of this technique that share a batch; by default one after the other.

        A task that is refused or fails does not affect the others.
        """
        return [outcome_of(task.run, forward, networks) for task, forward in zip(tasks, forwards, strict=True)]


@dataclass(frozen=True, eq=False)
class ImageTask(Task[R]):
    """A task that starts from images: it shares a forward pass with other tasks on the same model and kind of input.

    `Work` holds the images: uint8 [N, H, W, 3] of the model's input size, or float32 [N, 3, H, W], preprocessed.
    """

    targets: tuple[Target, ...]
    """Explain these. Empty: the logits of the most probable classes."""
    class_count: int
    """How many of the most probable classes to predict and, where `targets` is empty, to explain."""

    @property
    def explained_count(self) -> int:
        """How many targets are explained."""
        return len(self.targets) or self.class_count

    @property
    def target_bytes(self) -> int:
        """How many bytes the targets' vectors have, which go to the worker and return with the result."""
        return sum(target.vector.nbytes for target in self.targets if isinstance(target, Embedding))


@dataclass(frozen=True, eq=False)
class Work:
    """A task for a worker, with the images that it starts from."""

    task: Task[Any]
    images: Array | None = None
    """As `ImageTask` takes them; None: the task starts from none."""


def to_array(tensor: Tensor) -> Array:
    """Return a tensor as a contiguous array, which shared memory takes without another copy."""
    array: Array = tensor.detach().cpu().contiguous().numpy()
    return array
