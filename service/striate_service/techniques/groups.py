"""Find neuron groups in a layer's activations, and measure how the groups of one layer feed those of the next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from striate_service.models.description import LayerDescription
from striate_service.models.layers import capture
from striate_service.models.layouts import to_map
from striate_service.techniques.attribution import group_effects, group_gradients
from striate_service.techniques.costs import MOST_CHOICES
from striate_service.techniques.factorization import (
    Factorization,
    TooFewDimensions,
    choose_components,
    find_factors,
    project,
)
from striate_service.techniques.max_pooling import MaxPools
from striate_service.techniques.methods import Method, MethodChoice
from striate_service.techniques.outcomes import Failure, Refusal, Refused, outcome_of


@dataclass(frozen=True)
class Groups:
    """K groups in N images."""

    factorization: Factorization
    shape: tuple[int, int, int]
    """N, H, W"""
    method: Method
    choices: Tensor | None = None
    """[T, 2]: each number of groups that was tried, and its relative error; None where the number was given."""

    @property
    def spatial(self) -> Tensor:
        """[N, H, W, K]"""
        return self.factorization.weights.view(*self.shape, -1)

    @property
    def reconstruction(self) -> Tensor:
        """[N, C, H, W]"""
        return reconstruction(self.spatial, self.factorization.directions)


def reconstruction(spatial: Tensor, directions: Tensor) -> Tensor:
    """Return the sum [..., C, H, W] of groups [..., H, W, K] along directions [K, C]."""
    return (spatial @ directions).movedim(-1, -3)


def flows(
    network: nn.Module,
    pixels: Tensor,
    groups: Sequence[tuple[LayerDescription, Tensor, Tensor]],
    *,
    smooth: bool = False,
) -> list[tuple[Tensor, Tensor]]:
    """Return how the groups of each layer feed those of the next, by `attribution.group_effects`.

    Args:
        pixels: [N, 3, H, W], normalized.
        groups: for each layer, in forward order: its description, spatial [N, H, W, K] and directions [K, C].
        smooth: let gradients pass max pools as `max_pooling` says.

    Returns:
        For each layer but the last: influence [N, K, L] on the L groups of the next layer, and residual [N, L].
    """
    paths = [layer.path for layer, _, _ in groups]
    with torch.enable_grad():  # a new forward pass: the shared one may have recorded no graph
        pools = MaxPools()
        with pools if smooth else nullcontext():
            outputs = capture(network, pixels, paths, gradients=paths).layers
        pools.smooth = smooth
        return [
            group_effects(
                to_map(outputs[layer.path].detach(), layer),
                to_map(
                    group_gradients(
                        to_map(outputs[later.path], later), outputs[layer.path], later_spatial, later_directions
                    ),
                    layer,
                ),
                spatial,
                directions,
            )
            for (layer, spatial, directions), (later, later_spatial, later_directions) in pairwise(groups)
        ]


@dataclass(frozen=True)
class Problem:
    """Activations whose groups are to be found."""

    layer: Tensor
    """[N, C, H, W]"""
    components: int
    """0: chosen by `choose_components`."""
    method: MethodChoice = "auto"
    rectify: bool = False
    """Count negative activations as 0, for "auto" and "nmf"."""
    directions: Tensor | None = None
    """[K, C]: project onto these, which `method` found. None: find directions."""


def find_groups(problems: Sequence[Problem]) -> list[Groups | Refusal | Failure]:
    """Find the groups of each problem; problems of one shape and method are factorized in one batch."""
    found: dict[int, Groups | Refusal | Failure] = {}
    ready: dict[int, _Ready] = {}
    together: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for number, problem in enumerate(problems):
        prepared = outcome_of(_prepare, problem)
        if not isinstance(prepared, _Ready):
            found[number] = prepared
            continue
        ready[number] = prepared
        batched = prepared.method in ("nmf", "semi-nmf") and problem.components and problem.directions is None
        key = problem.layer.shape, problem.components, prepared.method, prepared.rectify, None if batched else number
        together[key].append(number)
    for numbers in together.values():
        result = outcome_of(_find, problems[numbers[0]], [ready[number] for number in numbers])
        each = result if isinstance(result, list) else [result] * len(numbers)
        found |= zip(numbers, each, strict=True)
    return [found[number] for number in range(len(problems))]


@dataclass(frozen=True)
class _Ready:
    """A problem's activations as a matrix."""

    matrix: Tensor
    """[N*H*W, C]"""
    method: Method
    rectify: bool
    """Whether there are negative values to be counted as 0."""


def _find(problem: Problem, prepared: Sequence[_Ready]) -> list[Groups]:
    """Find groups in matrices of one shape as `problem` asks: along directions, so many of them, or a chosen number."""
    images, _, height, width = problem.layer.shape
    shape = (images, height, width)
    method, rectify = prepared[0].method, prepared[0].rectify
    if problem.directions is not None:
        return [
            Groups(project(each.matrix, problem.directions, method=method, rectify=rectify), shape, method)
            for each in prepared
        ]
    if problem.components and method in ("nmf", "semi-nmf"):
        together = torch.stack([each.matrix for each in prepared])
        found = find_factors(together, problem.components, method=method, rectify=rectify).unbind()
        return [Groups(each, shape, method) for each in found]
    if problem.components:
        return [Groups(_decomposed(each, problem.components), shape, method) for each in prepared]
    groups = []
    for each in prepared:
        choice = choose_components(each.matrix, most=MOST_CHOICES, method=method, rectify=rectify)
        errors = (1 - torch.tensor(choice.explained)).clamp(min=0).sqrt()
        choices = torch.stack([torch.tensor(choice.candidates, dtype=errors.dtype), errors], dim=1)
        groups.append(Groups(choice.factorization, shape, method, choices))
    return groups


def _decomposed(prepared: _Ready, components: int) -> Factorization:
    try:
        return find_factors(prepared.matrix, components, method=prepared.method)
    except TooFewDimensions as error:
        raise Refused("components", f"is too large: {error}; ask for fewer, or choose another method") from error


def _prepare(problem: Problem) -> _Ready:
    """Check activations [N, C, H, W], and settle the method.

    Raises:
        Refused: they are not finite, or negative with "nmf" and no `rectify`.
    """
    layer = problem.layer
    if not torch.isfinite(layer).all():
        raise Refused("activations", "hold NaN or infinity; only finite numbers can be factorized")
    negative = bool(layer.min() < 0)
    method = problem.method
    if method == "auto":
        method = "semi-nmf" if negative and not problem.rectify else "nmf"
    if method == "nmf" and negative and not problem.rectify:
        raise Refused(
            "activations",
            f"hold negative values (as low as {layer.min():.3g}), which non-negative factorization cannot explain; "
            "choose semi-NMF, or set rectify to count them as 0",
        )
    return _Ready(layer.permute(0, 2, 3, 1).reshape(-1, layer.shape[1]), method, problem.rectify and negative)
