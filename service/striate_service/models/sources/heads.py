"""How many classes weights have, for sources whose networks are built for a number of classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from striate_service.models.fitting import fitted
from striate_service.models.weights import StateDict


def count_classes(build: Callable[[int], nn.Module], state: StateDict) -> int | None:
    """Return the number of classes for which `build` makes a network of the weights' shapes; None: they do not tell.

    Networks built for different numbers differ in the shapes of their classifiers, wherever those stand.

    Args:
        build: makes the network for a number of classes.
    """
    few, more = (_shapes(build, classes) for classes in (2, 3))
    state = fitted(state, few.keys())
    for name, shape in few.items():
        differing = [axis for axis, extent in enumerate(shape) if extent != more[name][axis]]
        if len(differing) == 1 and name in state and state[name].dim() == len(shape):
            (axis,) = differing  # along which there is a fixed part, and as much again for each class: a box's scores
            each = more[name][axis] - shape[axis]
            return (state[name].shape[axis] - shape[axis]) // each + 2
    return None


def _shapes(build: Callable[[int], nn.Module], classes: int) -> dict[str, torch.Size]:
    try:
        with torch.device("meta"):  # allocates and initializes nothing
            network = build(classes)
    except (NotImplementedError, RuntimeError):  # RegNet computes its widths by tensors, whose values it needs
        network = build(classes)
    return {name: tensor.shape for name, tensor in network.state_dict().items() if isinstance(tensor, torch.Tensor)}
