"""The loop that optimizes icons. Its state is plain data: it can stop after any step and resume in another process.

Notation: B pictures of S x S pixels: one for an objective, several for facets.
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
from striate_service.techniques.feature_visualization.parameterization import first_parameters, image, preview
from striate_service.techniques.feature_visualization.redirected_relu import RedirectedReLU
from striate_service.techniques.feature_visualization.transformations import view, with_channels
from striate_service.techniques.feature_visualization.transparency import alpha
from striate_service.techniques.objective import Facets, Objective, singles
from striate_service.techniques.recipe import Fourier, Maco, Recipe

# Adam's decay rates. The usual 0.9 and 0.999 average over more steps than there are: with these, SqueezeNet's
# features.12 is excited by a tenth more after the same number of steps.
_BETA1, _BETA2, _EPSILON = 0.7, 0.95, 1e-8


@dataclass(frozen=True)
class State:
    """An optimization between two steps."""

    step: int
    """How many steps have been made."""
    parameters: Tensor
    """float32 [B, ...]: the images' parameters; see parameterization.py."""
    first_moment: Tensor
    second_moment: Tensor
    """Adam's moments, of the parameters' shape."""
    attention: Tensor
    """float32 [B, S, S]: the gradients' magnitudes at each pixel, summed over the steps; [B, 0, 0] where the recipe
    makes nothing transparent."""

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as arrays. All but the step have one row per picture."""
        return {"step": np.array(self.step)} | {name: getattr(self, name).cpu().numpy() for name in _TENSORS}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]], device: torch.device | str = "cpu") -> State:
        """Return the state that `to_arrays` gave as arrays."""
        tensors = [torch.from_numpy(np.array(arrays[name])).to(device) for name in _TENSORS]
        return cls(int(arrays["step"]), *tensors)


_TENSORS = ("parameters", "first_moment", "second_moment", "attention")


def start(recipe: Recipe, objectives: Sequence[Objective], device: torch.device | str = "cpu") -> State:
    """Return the state before the first step. All icons start from one image, but each facet from its own."""
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
    as_map: Callable[[Tensor], Tensor] = lambda outputs: outputs,
    last: int | None = None,
    until: Callable[[], bool] = lambda: False,
) -> State:
    """Make at least one step, and continue to step `last`, by default the recipe's, or until `until()` is true.

    The pictures do not depend on where the work was split.

    Args:
        network: in evaluation mode, its parameters without gradients.
        layer: a layer's path.
        objectives: the ones that the state was started with.
        preprocessing: the network's; icons are shown to it at its usual input size.
        as_map: turns the layer's outputs into maps [B, C, H, W]. By default they are maps.
    """
    device = state.parameters.device
    mean, std = (
        torch.tensor(values, device=device).view(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std)
    )
    shown = singles(objectives)
    score_alone = scorer(shown, recipe)

    def score_with_diversity(activations: Tensor) -> Tensor:
        # Added as in the article, relative to the score, so that the weight means the same in every layer. As a factor
        # it would stop pictures from leaving grey, where all facets are equal.
        scores = score_alone(activations)
        return scores + scores.detach().abs() * diversities(objectives, activations)

    def gradients(parameters: Tensor, score: Callable[[Tensor], Tensor], step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss's gradients with respect to the parameters and to the images' pixels, and the scores."""
        parameters = parameters.detach().requires_grad_()
        images = image(parameters, recipe)
        seen = with_channels(view(images, preprocessing.size, recipe, step), len(preprocessing.mean))
        inputs = ((seen - mean) / std).contiguous(memory_format=torch.channels_last)
        activations = as_map(capture(network, inputs, [layer]).layers[layer])
        scores = score(activations)
        of_parameters, of_images = torch.autograd.grad(-scores.sum(), (parameters, images))
        return of_parameters, of_images, scores.detach()

    score = score_with_diversity if any(isinstance(objective, Facets) for objective in objectives) else score_alone
    step, parameters, attention = state.step, state.parameters.clone(), state.attention.clone()
    first_moment, second_moment = state.first_moment.clone(), state.second_moment.clone()
    while step < (last or recipe.steps):
        descent, at_pixels, scores = gradients(parameters, score, step)
        silent = [row for row, part in enumerate(descent) if not part.any()]
        below = [row for row, reached in enumerate(scores.tolist()) if reached <= 0 and row not in silent]
        # Only these pictures need redirected gradients, which cost more: those that have none yet, and those that
        # excite nothing yet, which a smooth activation function would lead astray.
        for rows, redirected in ((silent, RedirectedReLU()), (below, RedirectedReLU(smooth_only=True))):
            if rows:
                with redirected:
                    own_score = scorer([shown[row] for row in rows], recipe)
                    descent[rows], at_pixels[rows], _ = gradients(parameters[rows], own_score, step)
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
        case Fourier():  # rises: see `Fourier.learning_rate`
            return recipe.learning_rate * (step + 1) / recipe.steps
        case Maco():  # falls, so that phases converge
            return recipe.learning_rate * (1 + math.cos(math.pi * step / recipe.steps)) / 2


@torch.no_grad()
def pictures(state: State, recipe: Recipe) -> Tensor:
    """Return the present icons: uint8 [B, S, S, 3], or [B, S, S, 4] where the recipe makes parts transparent.

    Before the last step they are drawn with the contrast that they will have.
    """
    images = (image if state.step >= recipe.steps else preview)(state.parameters, recipe)
    if isinstance(recipe, Maco):
        images = torch.cat([images, alpha(state.attention)[:, None]], dim=1)
    return images.mul(255).round().byte().permute(0, 2, 3, 1).contiguous()
