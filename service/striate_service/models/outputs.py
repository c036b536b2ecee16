"""What a network answers: the one place that knows how outputs look.

Logits are a tensor [N, K]; an object's `logits`, as Hugging Face's; a dict's `logits` or `out`; the first [N, K] of a
tuple. Logits of a segmenter are the same with positions, [N, K, H, W]. A detector answers with `Boxes`
(models/detectors.py). A network without classes may answer with features or an embedding, [N, K], to which classes mean
nothing; Hugging Face's have it as `image_embeds` or `pooler_output`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from striate_service.models.errors import ModelError, in_short


class Boxes(NamedTuple):
    """A boxes in each of N images, before any is dropped, and what a detector says of them for K classes."""

    corners: Tensor
    """[N, A, 1, 4], or [N, A, K, 4] where each class moves them: left, top, right, bottom, as shares of the input's
    width and height."""
    logits: Tensor
    """[N, A, K]: before softmax or sigmoid."""
    scores: Tensor
    """[N, A, K], 0 to 1: by which the detector ranks boxes. Below 0: there is no such box."""
    overlap: Tensor
    """[]: intersection over union with a better box of the class above which the detector drops a box."""


@dataclass(frozen=True)
class Answer:
    """What targets are read from, for N images."""

    vector: Tensor | None = None
    """[N, K]: logits or an embedding."""
    maps: Tensor | None = None
    """[N, K, H, W]: a segmenter's logits."""
    boxes: Boxes | None = None


@dataclass(frozen=True)
class AnswerSizes:
    """What a network answers with for any image. Each number is 0 where it answers with no such thing."""

    classes: int = 0
    """How many classes it knows: of an image, of positions, or of boxes."""
    outputs: int = 0
    """How many numbers `Answer.vector` has."""
    is_segmenter: bool = False
    is_detector: bool = False


def answer_of(output: object) -> Answer:
    """Return what targets are read from, of a network's output."""
    if isinstance(output, Boxes):
        return Answer(boxes=output)
    vector = logits_of(output)
    if vector is None and isinstance(output, Mapping):
        features = (output.get(key) for key in ("image_embeds", "pooler_output"))
        vector = next((each for each in features if isinstance(each, Tensor) and each.dim() == 2), None)
    if vector is not None:
        return Answer(vector=vector)
    return Answer(maps=next((each for each in _main_tensors(output) if each.dim() == 4), None))


def logits_of(output: object) -> Tensor | None:
    """Return a network's output as logits [N, K]; None: it is no classification."""
    for each in _main_tensors(output):
        if each.dim() == 1:  # a single logit, squeezed
            return each[:, None]
        if each.dim() == 2:
            return each
    return None


def _main_tensors(output: object) -> Iterator[Tensor]:
    """Yield the tensors of an output that may be logits, the likeliest first."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(getattr(output, "logits", None), Tensor):
        yield from _main_tensors(output.logits)  # type: ignore[attr-defined]
    elif isinstance(output, Mapping):  # also Hugging Face's outputs without logits, whose tensors are features
        for key in ("logits", "out"):
            yield from _main_tensors(output.get(key))
    elif isinstance(output, tuple | list) and not isinstance(output, Boxes):
        for part in output:
            yield from _main_tensors(part)


def as_logits(network: nn.Module, output: object, inputs: Tensor) -> Tensor:
    """Return logits [N, K] in at most single precision; [N, 0] from a network without classes."""
    logits = logits_of(output) if classifies(network) else None
    if logits is None:
        return inputs.flatten(1)[:, :0].float()  # by a slice, so that exported networks take any number of images
    return logits.float() if logits.dtype == torch.float64 else logits


def classifies(network: nn.Module) -> bool:
    """Return whether what a network answers with may be logits: timm's without a head, which give features, say so."""
    return getattr(network, "num_classes", None) != 0


def probabilities(logits: Tensor, activation: str) -> Tensor:
    """Return what a network's logits [N, K] say of each class.

    Args:
        activation: "softmax", of classes that exclude each other; "sigmoid", of those that do not; "none": the logits
        are
            what counts.
    """
    return logits.softmax(1) if activation == "softmax" else logits.sigmoid() if activation == "sigmoid" else logits


def tensors_of(output: object) -> list[Tensor]:
    """Return all floating-point tensors of a network's output, of whatever structure."""
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


@torch.inference_mode()
def measure_answer(network: nn.Module, input_shape: Sequence[int]) -> AnswerSizes:
    """Run a network once, and return what it answers with.

    Args:
        input_shape: of one image, [C, H, W].

    Raises:
        ModelError: it takes no such image, or answers with what only training or a detector's loop uses.
    """
    try:
        output = network(torch.zeros(1, *input_shape))
    except Exception as error:  # networks raise whatever their modules say of an input that does not fit
        raise ModelError(_of_input(error, input_shape)) from error
    if _is_detection(output):
        raise ModelError(
            "it answers with boxes, as detectors do. Serve torchvision's by name, and the network inside others "
            "(detector.backbone) by a factory."
        )
    if not tensors_of(output):
        raise ModelError("it answers without any tensor of numbers.")
    answer = answer_of(output)
    if answer.boxes is not None:
        return AnswerSizes(answer.boxes.logits.shape[2], is_detector=True)
    if answer.maps is not None:
        return AnswerSizes(answer.maps.shape[1], is_segmenter=True) if classifies(network) else AnswerSizes()
    classes = as_logits(network, output, torch.zeros(1, *input_shape)).shape[1]
    return AnswerSizes(classes, outputs=0 if answer.vector is None else answer.vector.shape[1])


def _is_detection(output: object) -> bool:
    return isinstance(output, list) and all(isinstance(each, Mapping) and "boxes" in each for each in output)


def _of_input(error: Exception, input_shape: Sequence[int]) -> str:
    text = in_short(error)
    if isinstance(error, TypeError) and "required positional argument" in str(error):
        return f"it takes several inputs, and only images are given ({text}). Serve the part for images by a factory."
    if "5D" in str(error) or "conv3d" in str(error):
        return f"it takes videos, not images ({text})."
    return f"it takes no image of {list(input_shape)}: {text}. The setting preprocessing says size and channels."
