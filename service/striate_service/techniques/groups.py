"""Find neuron groups in a layer's activations, and measure how the groups of one layer feed those of the next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from striate_service.models.layers import capture
from striate_service.techniques.attribution import group_effects, group_gradients
from striate_service.techniques.factorization import Factorization, choose_components, factorize, project
from striate_service.techniques.outcomes import Failure, Refusal, Refused, outcome_of


@dataclass(frozen=True)
class Groups:
    """K groups in N images."""

    factorization: Factorization
    shape: tuple[int, int, int]
    """N, H, W"""
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
    network: nn.Module, pixels: Tensor, groups: Sequence[tuple[str, Tensor, Tensor]]
) -> list[tuple[Tensor, Tensor]]:
    """Return how the groups of each layer feed those of the next, by `attribution.group_effects`.

    Args:
        pixels: [N, 3, H, W], normalized.
        groups: for each layer, in forward order: its path, spatial [N, H, W, K] and directions [K, C].

    Returns:
        For each layer but the last: influence [N, K, L] on the L groups of the next layer, and residual [N, L].
    """
    paths = [path for path, _, _ in groups]
    with torch.enable_grad():  # a new forward pass: the shared one may have recorded no graph
        layers = capture(network, pixels, paths, gradients=paths).layers
        return [
            group_effects(
                layers[path].detach(),
                group_gradients(layers[later_path], layers[path], later_spatial, later_directions),
                spatial,
                directions,
            )
            for (path, spatial, directions), (later_path, later_spatial, later_directions) in pairwise(groups)
        ]


@dataclass(frozen=True)
class Problem:
    """Activations whose groups are to be found."""

    layer: Tensor
    """[N, C, H, W]"""
    components: int
    """0: chosen by `choose_components`."""
    rectify: bool
    directions: Tensor | None = None
    """[K, C]: project onto these. None: find directions."""


def find_groups(problems: Sequence[Problem]) -> list[Groups | Refusal | Failure]:
    """Find the groups of each problem; problems of one shape are factorized in one batch."""
    found: dict[int, Groups | Refusal | Failure] = {}
    matrices: dict[int, Tensor] = {}
    by_shape: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for number, problem in enumerate(problems):
        matrix = outcome_of(_matrix, problem.layer, problem.rectify)
        if not isinstance(matrix, Tensor):
            found[number] = matrix
            continue
        matrices[number] = matrix
        alone = problem.directions is not None or not problem.components
        by_shape[problem.layer.shape, problem.components, number if alone else None].append(number)
    for numbers in by_shape.values():
        first, chosen = problems[numbers[0]], [matrices[number] for number in numbers]
        images, _, height, width = first.layer.shape
        result = outcome_of(_find, chosen, first.components, (images, height, width), first.directions)
        each = result if isinstance(result, list) else [result] * len(numbers)
        found |= zip(numbers, each, strict=True)
    return [found[number] for number in range(len(problems))]


def _find(
    matrices: Sequence[Tensor], components: int, shape: tuple[int, int, int], directions: Tensor | None = None
) -> list[Groups]:
    """Find groups in matrices [N*H*W, C] of one shape: along `directions`, `components` of them, or a chosen number."""
    if directions is not None:
        return [Groups(project(matrix, directions), shape) for matrix in matrices]
    if components:
        return [Groups(each, shape) for each in factorize(torch.stack(list(matrices)), components).unbind()]
    groups = []
    for matrix in matrices:
        choice = choose_components(matrix)
        errors = (1 - torch.tensor(choice.explained)).clamp(min=0).sqrt()
        choices = torch.stack([torch.tensor(choice.candidates, dtype=errors.dtype), errors], dim=1)
        groups.append(Groups(choice.factorization, shape, choices))
    return groups


def _matrix(layer: Tensor, rectify: bool) -> Tensor:
    """Return activations [N, C, H, W] as a non-negative matrix [N*H*W, C].

    Raises:
        Refused: they are not finite, or negative without `rectify`.
    """
    if not torch.isfinite(layer).all():
        raise Refused("activations", "hold NaN or infinity; only finite numbers can be factorized")
    if not rectify and layer.min() < 0:
        raise Refused(
            "activations",
            f"hold negative values (as low as {layer.min():.3g}), which non-negative factorization cannot explain; "
            "choose a layer after a ReLU, or set rectify to count them as 0",
        )
    return layer.clamp(min=0).permute(0, 2, 3, 1).reshape(-1, layer.shape[1])
