"""The loop that optimizes icons. Its state is plain data: it can stop after any step and go on in another process.

Notation: B icons of S x S pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate_service.models.description import Preprocessing
from striate_service.models.layers import capture
from striate_service.techniques.feature_visualization.objectives import scorer
from striate_service.techniques.feature_visualization.parameterization import first_spectrum, image
from striate_service.techniques.feature_visualization.redirected_relu import RedirectedReLU
from striate_service.techniques.feature_visualization.transformations import view
from striate_service.techniques.recipe import Objective, Recipe

# Adam's memory of gradients and of their squares. The usual 0.9 and 0.999 would outlast the few steps there are: with
# these, features.12 of SqueezeNet is excited by a tenth more after as many steps.
_BETA1, _BETA2, _EPSILON = 0.7, 0.95, 1e-8


@dataclass(frozen=True)
class State:
    """An optimization between two steps."""

    step: int
    """How many steps have been made."""
    spectrum: Tensor
    """float32 [B, 3, S, S // 2 + 1, 2]: Fourier coefficients, before they are scaled by frequency."""
    first_moment: Tensor
    second_moment: Tensor
    """Adam's, of the spectrum's shape."""

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return it as arrays that can travel."""
        return {
            "step": np.array(self.step),
            "spectrum": self.spectrum.cpu().numpy(),
            "first_moment": self.first_moment.cpu().numpy(),
            "second_moment": self.second_moment.cpu().numpy(),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]], device: torch.device | str = "cpu") -> State:
        """Read what `to_arrays` wrote."""
        names = ("spectrum", "first_moment", "second_moment")
        tensors = [torch.from_numpy(np.array(arrays[name])).to(device) for name in names]
        return cls(int(arrays["step"]), *tensors)


def start(recipe: Recipe, count: int, device: torch.device | str = "cpu") -> State:
    """Return the state before the first step of `count` icons. All start from the same image."""
    spectrum = first_spectrum(recipe, count, device)
    return State(0, spectrum, torch.zeros_like(spectrum), torch.zeros_like(spectrum))


def advance(
    network: nn.Module,
    layer: str,
    objectives: Sequence[Objective],
    recipe: Recipe,
    state: State,
    *,
    preprocessing: Preprocessing,
    until: Callable[[], bool] = lambda: False,
) -> State:
    """Make at least one step and go on until the recipe's last one, or until `until()` says to stop.

    Where it stops makes no difference to the pictures.

    Args:
        network: in evaluation mode, its parameters without gradients.
        layer: the path of a layer of shape [C, H, W].
        objectives: [B], one an icon.
        preprocessing: what the network expects; it sees icons at the size that it sees photographs at.
    """
    device = state.spectrum.device
    mean, std = (
        torch.tensor(values, device=device).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std)
    )

    def gradient(spectrum: Tensor, of: Sequence[Objective], step: int) -> Tensor:
        """Return what to descend, of the spectrum's shape."""
        spectrum = spectrum.detach().requires_grad_()
        seen = view(image(spectrum), preprocessing.crop, recipe, step)
        inputs = ((seen - mean) / std).contiguous(memory_format=torch.channels_last)
        activations = capture(network, inputs, [layer]).layers[layer]
        (found,) = torch.autograd.grad(-scorer(of, recipe, device)(activations).sum(), spectrum)
        return found

    step, spectrum = state.step, state.spectrum.clone()
    first_moment, second_moment = state.first_moment.clone(), state.second_moment.clone()
    while step < recipe.steps:
        descent = gradient(spectrum, objectives, step)
        silent = [row for row, part in enumerate(descent) if not part.any()]
        if silent:  # the image does not excite these at all yet; others need no redirected gradients, which cost more
            with RedirectedReLU():
                descent[silent] = gradient(spectrum[silent], [objectives[row] for row in silent], step)
        step += 1
        first_moment.lerp_(descent, 1 - _BETA1)
        second_moment.lerp_(descent.square(), 1 - _BETA2)
        deviation = (second_moment / (1 - _BETA2**step)).sqrt_().add_(_EPSILON)
        rate = recipe.learning_rate * step / recipe.steps
        spectrum.addcdiv_(first_moment, deviation, value=-rate / (1 - _BETA1**step))
        if until():
            break
    return State(step, spectrum, first_moment, second_moment)


@torch.no_grad()
def pictures(state: State) -> Tensor:
    """Return the icons as they are now: uint8 [B, S, S, 3]."""
    return image(state.spectrum).mul(255).round().byte().permute(0, 2, 3, 1).contiguous()
