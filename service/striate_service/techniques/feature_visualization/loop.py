"""The loop that optimizes icons. Its state is plain data: it can stop after any step and go on in another process.

Notation: B pictures of S x S pixels: one an objective, or its facets one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate_service.models.description import Preprocessing
from striate_service.models.layers import capture
from striate_service.techniques.feature_visualization.objectives import diversities, facet_numbers, scorer
from striate_service.techniques.feature_visualization.parameterization import first_parameters, image
from striate_service.techniques.feature_visualization.redirected_relu import RedirectedReLU
from striate_service.techniques.feature_visualization.transformations import view
from striate_service.techniques.feature_visualization.transparency import alpha
from striate_service.techniques.objective import Facets, Objective, singles
from striate_service.techniques.recipe import Fourier, Maco, Recipe

# Adam's memory of gradients and of their squares. The usual 0.9 and 0.999 would outlast the few steps there are: with
# these, features.12 of SqueezeNet is excited by a tenth more after as many steps.
_BETA1, _BETA2, _EPSILON = 0.7, 0.95, 1e-8


@dataclass(frozen=True)
class State:
    """An optimization between two steps."""

    step: int
    """How many steps have been made."""
    parameters: Tensor
    """float32 [B, ...]: what the images are made from; see parameterization.py."""
    first_moment: Tensor
    second_moment: Tensor
    """Adam's, of the parameters' shape."""
    attention: Tensor
    """float32 [B, S, S]: the gradients' magnitudes at each pixel, added up over the steps; [B, 0, 0] where the recipe
    makes nothing transparent."""

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return it as arrays that can travel. All but the step have a row a picture."""
        return {"step": np.array(self.step)} | {name: getattr(self, name).cpu().numpy() for name in _TENSORS}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]], device: torch.device | str = "cpu") -> State:
        """Read what `to_arrays` wrote."""
        tensors = [torch.from_numpy(np.array(arrays[name])).to(device) for name in _TENSORS]
        return cls(int(arrays["step"]), *tensors)


_TENSORS = ("parameters", "first_moment", "second_moment", "attention")


def start(recipe: Recipe, objectives: Sequence[Objective], device: torch.device | str = "cpu") -> State:
    """Return the state before the first step. All icons start from the same image, but for facets of one objective."""
    parameters = first_parameters(recipe, facet_numbers(objectives), device)
    side = recipe.size if isinstance(recipe, Maco) else 0
    attention = torch.zeros(len(parameters), side, side, device=device)
    return State(0, parameters, torch.zeros_like(parameters), torch.zeros_like(parameters), attention)


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
        objectives: those that the state was started with.
        preprocessing: what the network expects; it sees icons at the size that it sees photographs at.
    """
    device = state.parameters.device
    mean, std = (
        torch.tensor(values, device=device).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std)
    )
    shown = singles(objectives)
    alone = scorer(shown, recipe)

    def apart(activations: Tensor) -> Tensor:
        # Added as in the article, in units of the score itself, so that it weighs alike in every layer. To multiply by
        # it would wake no picture from grey, where all are alike.
        scores = alone(activations)
        return scores + scores.detach().abs() * diversities(objectives, activations)

    def gradients(parameters: Tensor, score: Callable[[Tensor], Tensor], step: int) -> tuple[Tensor, Tensor]:
        """Return what to descend, of the parameters' shape, and the same for the images' pixels."""
        parameters = parameters.detach().requires_grad_()
        images = image(parameters, recipe)
        seen = view(images, preprocessing.crop, recipe, step)
        inputs = ((seen - mean) / std).contiguous(memory_format=torch.channels_last)
        activations = capture(network, inputs, [layer]).layers[layer]
        of_parameters, of_images = torch.autograd.grad(-score(activations).sum(), (parameters, images))
        return of_parameters, of_images

    score = apart if any(isinstance(objective, Facets) for objective in objectives) else alone
    step, parameters, attention = state.step, state.parameters.clone(), state.attention.clone()
    first_moment, second_moment = state.first_moment.clone(), state.second_moment.clone()
    while step < recipe.steps:
        descent, at_pixels = gradients(parameters, score, step)
        silent = [row for row, part in enumerate(descent) if not part.any()]
        if silent:  # the image does not excite these at all yet; others need no redirected gradients, which cost more
            with RedirectedReLU():
                of_silent = scorer([shown[row] for row in silent], recipe)
                descent[silent], at_pixels[silent] = gradients(parameters[silent], of_silent, step)
        if isinstance(recipe, Maco):
            attention += at_pixels.abs().sum(1)
        rate = learning_rate(recipe, step)
        step += 1
        first_moment.lerp_(descent, 1 - _BETA1)
        second_moment.lerp_(descent.square(), 1 - _BETA2)
        deviation = (second_moment / (1 - _BETA2**step)).sqrt_().add_(_EPSILON)
        parameters.addcdiv_(first_moment, deviation, value=-rate / (1 - _BETA1**step))
        if until():
            break
    return State(step, parameters, first_moment, second_moment, attention)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return Adam's learning rate after `step` steps."""
    match recipe:
        case Fourier():  # a nearly grey image is brought out
            return recipe.learning_rate * (step + 1) / recipe.steps
        case Maco():  # phases come to rest
            return recipe.learning_rate * (1 + math.cos(math.pi * step / recipe.steps)) / 2


@torch.no_grad()
def pictures(state: State, recipe: Recipe) -> Tensor:
    """Return the icons as they are now: uint8 [B, S, S, 3], or [B, S, S, 4] where they have transparent parts."""
    images = image(state.parameters, recipe)
    if isinstance(recipe, Maco):
        images = torch.cat([images, alpha(state.attention)[:, None]], dim=1)
    return images.mul(255).round().byte().permute(0, 2, 3, 1).contiguous()
