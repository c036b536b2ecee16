"""What a network answers, as logits: the one place that knows how outputs look.

A tensor [N, K]; an object with `logits`, as Hugging Face's; a dict with `logits` or `out`; a tuple whose first [N, K]
counts. Everything else (features, segmentations, embeddings) is no classification: such a network has no classes, and
answers everything but predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from striate_service.models.errors import ModelError, in_short


def logits_of(output: object) -> Tensor | None:
    """Return a network's output as logits [N, K]; None: it is no classification."""
    if isinstance(output, Tensor):
        if output.dim() == 1:  # a single logit, squeezed
            return output[:, None]
        return output if output.dim() == 2 and output.is_floating_point() else None
    if isinstance(getattr(output, "logits", None), Tensor):
        return logits_of(output.logits)  # type: ignore[attr-defined]
    if isinstance(output, Mapping):  # also Hugging Face's outputs without logits, whose tensors are features
        return next((logits_of(output[key]) for key in ("logits", "out") if isinstance(output.get(key), Tensor)), None)
    if isinstance(output, tuple | list):
        found = (logits_of(part) for part in output)
        return next((logits for logits in found if logits is not None), None)
    return None


def as_logits(network: nn.Module, output: object, inputs: Tensor) -> Tensor:
    """Return logits [N, K] in at most single precision; [N, 0] from a network without classes."""
    logits = logits_of(output) if classifies(network) else None
    if logits is None:
        return inputs.flatten(1)[:, :0].float()  # by a slice, so that exported networks take any number of images
    return logits.float() if logits.dtype == torch.float64 else logits


def classifies(network: nn.Module) -> bool:
    """Return whether [N, K] from a network may be logits: timm's without a head, which give features, say so."""
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
def count_classes(network: nn.Module, input_shape: Sequence[int]) -> int:
    """Run a network once, and return how many classes it has; 0: none.

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
            "it answers with boxes, as detectors do. Serve the network inside, such as detector.backbone, by a factory."
        )
    if not tensors_of(output):
        raise ModelError("it answers without any tensor of numbers.")
    return as_logits(network, output, torch.zeros(1, *input_shape)).shape[1]


def _is_detection(output: object) -> bool:
    return isinstance(output, list) and all(isinstance(each, Mapping) and "boxes" in each for each in output)


def _of_input(error: Exception, input_shape: Sequence[int]) -> str:
    text = in_short(error)
    if isinstance(error, TypeError) and "required positional argument" in str(error):
        return f"it takes several inputs, and only images are given ({text}). Serve the part for images by a factory."
    if "5D" in str(error) or "conv3d" in str(error):
        return f"it takes videos, not images ({text})."
    return f"it takes no image of {list(input_shape)}: {text}. The setting preprocessing says size and channels."
