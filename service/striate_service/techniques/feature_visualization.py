"""Feature visualization: optimize an image until it excites a neuron (Olah, Mordvintsev and Schubert, Distill 2017).

Lucid's four ideas: *what to maximize* (recipe.py), *how the image is parameterized* (as Fourier coefficients of
decorrelated colours, so that a step changes all scales alike), *how it is disturbed* (so that it does not become
adversarial noise), and *the loop*. Many icons are optimized in one batch, each for its own objective; they share the
disturbances and nothing else, so an icon does not depend on its company.

The state of the optimization is plain data: it can stop after any step and go on in another process.

Notation: B icons of S x S pixels.
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
from torch.overrides import TorchFunctionMode

from striate_service.models.layers import capture
from striate_service.techniques.recipe import Channel, Direction, Objective, Recipe

Normalization = tuple[Sequence[float], Sequence[float]]
"""The mean and standard deviation per colour (RGB, of values from 0 to 1) that the network expects."""

# The square root of the covariance of ImageNet's colours (Lucid, optvis/param/color.py), scaled so that its longest
# column has length 1.
_COLOUR_SQRT = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
_COLOUR = _COLOUR_SQRT / _COLOUR_SQRT.norm(dim=0).max()

_START_DEVIATION = 0.01  # of the first spectrum (Lucid): nearly grey
_CONTRAST = 0.25  # of an image of unit spectrum before the sigmoid (Lucid divides by 4)
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's own defaults
_LEAST_COSINE = 0.1  # keeps the gradient of a direction that points away (Lucid, objectives.py)


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
    shape = (3, recipe.size, recipe.size // 2 + 1, 2)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(recipe.seed)) * _START_DEVIATION
    spectrum = noise.expand(count, *shape).clone().to(device)
    return State(0, spectrum, torch.zeros_like(spectrum), torch.zeros_like(spectrum))


def advance(
    network: nn.Module,
    layer: str,
    objectives: Sequence[Objective],
    recipe: Recipe,
    state: State,
    *,
    normalize: Normalization,
    until: Callable[[], bool] = lambda: False,
) -> State:
    """Make at least one step and go on until the recipe's last one, or until `until()` says to stop.

    Where it stops makes no difference to the pictures.

    Args:
        network: in evaluation mode, its parameters without gradients; it takes images of any size.
        layer: the path of a layer of shape [C, H, W].
        objectives: [B], one an icon.
    """
    to_score = _objective(objectives, recipe, state.spectrum.device)
    mean, std = (torch.tensor(values, device=state.spectrum.device).view(3, 1, 1) for values in normalize)
    step, spectrum = state.step, state.spectrum.clone().requires_grad_()
    first_moment, second_moment = state.first_moment.clone(), state.second_moment.clone()
    while step < recipe.steps:
        disturbed = _disturb(_image(spectrum), recipe, step)
        inputs = ((disturbed - mean) / std).contiguous(memory_format=torch.channels_last)
        with RedirectedReLU():
            activations = capture(network, inputs, [layer]).layers[layer]
            (gradient,) = torch.autograd.grad(-to_score(activations).sum(), spectrum)
        step += 1
        with torch.no_grad():
            first_moment.lerp_(gradient, 1 - _BETA1)
            second_moment.lerp_(gradient.square(), 1 - _BETA2)
            deviation = (second_moment / (1 - _BETA2**step)).sqrt_().add_(_EPSILON)
            spectrum.addcdiv_(first_moment, deviation, value=-recipe.learning_rate / (1 - _BETA1**step))
        if until():
            break
    return State(step, spectrum.detach(), first_moment, second_moment)


@torch.no_grad()
def pictures(state: State) -> Tensor:
    """Return the icons as they are now: uint8 [B, S, S, 3]."""
    return _image(state.spectrum).mul(255).round().byte().permute(0, 2, 3, 1).contiguous()


class RedirectedReLU(TorchFunctionMode):
    """Within it, ReLUs whose output is 0 everywhere still pass on the gradients that would raise it.

    An image that does not excite a neuron at all has no gradient to begin with; this gives it one (Lucid,
    misc/redirected_relu_grad.py). It reaches every ReLU and ReLU6 of any network, as a module or a function, and keeps
    those that work in place from overwriting what the backward pass needs.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in _CEILINGS:
            return _Redirected.apply(  # type: ignore[no-untyped-call]
                args[0], _CEILINGS[function]
            )
        return function(*args, **(kwargs or {}))


_CEILINGS = {
    torch.relu: math.inf,
    torch.relu_: math.inf,
    torch.Tensor.relu: math.inf,
    torch.Tensor.relu_: math.inf,
    nn.functional.relu: math.inf,
    nn.functional.relu_: math.inf,
    nn.functional.relu6: 6.0,
}
"""The largest output of each function that is a ReLU."""


class _Redirected(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, ceiling: float) -> Tensor:
        context.save_for_backward(x)
        context.ceiling = ceiling
        return x.clamp(0, ceiling)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = context.saved_tensors
        below, above = x <= 0, x >= context.ceiling
        usual = gradient.masked_fill(below | above, 0)
        silent = usual.flatten(1).abs().amax(1) == 0  # [B]
        if not silent.any():
            return usual, None
        # The loss is minimized, so a positive gradient pushes x down: away from where it is wanted, if it is below 0.
        redirected = gradient.masked_fill((below & (gradient > 0)) | (above & (gradient < 0)), 0)
        return torch.where(silent.view(-1, *[1] * (x.dim() - 1)), redirected, usual), None


def _objective(objectives: Sequence[Objective], recipe: Recipe, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return the function from activations [B, C, H, W] to the scores [B] that the icons maximize."""
    rows = torch.arange(len(objectives), device=device)
    channels = torch.tensor(
        [objective.channel if isinstance(objective, Channel) else 0 for objective in objectives], device=device
    )
    directed = [row for row, objective in enumerate(objectives) if isinstance(objective, Direction)]
    directions = torch.tensor([o.components for o in objectives if isinstance(o, Direction)], device=device)

    def score(activations: Tensor) -> Tensor:
        scores = activations[rows, channels].mean((1, 2))
        if directed:
            maps = activations[directed]
            dots = torch.einsum("bchw,bc->bhw", maps, directions)
            cosines = dots / (maps.norm(dim=1) * directions.norm(dim=1)[:, None, None]).clamp(min=1e-6)
            along = dots * cosines.clamp(min=_LEAST_COSINE) ** recipe.cosine_power
            scores = scores.index_copy(0, torch.tensor(directed, device=device), along.mean((1, 2)))
        return scores

    return score


def _image(spectrum: Tensor) -> Tensor:
    """Return the images [B, 3, S, S], 0 to 1, that a spectrum stands for."""
    size = spectrum.shape[2]
    rows = torch.fft.fftfreq(size, device=spectrum.device)[:, None]
    columns = torch.fft.rfftfreq(size, device=spectrum.device)[None, :]
    frequency = (rows.square() + columns.square()).sqrt().clamp(min=1 / size)
    # Natural images have power that falls with frequency; the factor `size` makes the transform unitary.
    scaled = torch.view_as_complex(spectrum * (size / frequency)[..., None])
    decorrelated = torch.fft.irfft2(scaled, s=(size, size)) * _CONTRAST
    return torch.einsum("dc,bchw->bdhw", _COLOUR.to(spectrum.device), decorrelated).sigmoid()


def _disturb(images: Tensor, recipe: Recipe, step: int) -> Tensor:
    """Shift, scale and turn images a little, all alike, at random by the recipe's seed and the step; grey outside."""
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    shift_x, shift_y, scale, turn = (torch.rand(4, generator=generator) * 2 - 1).tolist()
    angle, zoom = math.radians(turn * recipe.rotation), 1 + scale * recipe.scale
    cosine, sine, pixel = math.cos(angle) * zoom, math.sin(angle) * zoom, 2 * recipe.jitter / recipe.size
    affine = torch.tensor([[cosine, -sine, shift_x * pixel], [sine, cosine, shift_y * pixel]], device=images.device)
    # One grid for all icons: they are the channels of one image to the sampler.
    flat = images.flatten(0, 1)[None] - 0.5
    grid = nn.functional.affine_grid(affine[None], [1, 1, *images.shape[2:]], align_corners=False)
    return nn.functional.grid_sample(flat, grid, align_corners=False).view_as(images) + 0.5
