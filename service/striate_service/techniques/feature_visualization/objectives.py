"""What icons maximize: from values (recipe.py) to functions of a layer's activations.

Notation: B pictures; an objective asks for one, or for several facets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from striate_service.techniques.recipe import Direction, Facets, Neuron, Objective, Recipe, Single

_LEAST_COSINE = 0.1  # keeps the gradient where the activations point away (Lucid, objectives.py)


def singles(objectives: Sequence[Objective]) -> list[Single]:
    """Return what each picture shows, [B]."""
    return [
        single
        for objective in objectives
        for single in ([objective.of] * objective.count if isinstance(objective, Facets) else [objective])
    ]


def facet_numbers(objectives: Sequence[Objective]) -> list[int]:
    """Return which facet each picture is, [B]; 0 where it is the only one."""
    return [
        number for objective in objectives for number in range(objective.count if isinstance(objective, Facets) else 1)
    ]


def scorer(shown: Sequence[Single], recipe: Recipe, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return the function from activations [B, C, H, W] to the scores [B] that pictures maximize, each for itself.

    Each shows a direction, of which a channel is one: at a position of activations a it scores a . d cos(a, d) ** power
    (Lucid, objectives.py, `_dot_cossim`). Without the cosine a picture would excite
    its channel's relatives as well. What counts is the mean over positions, or a neuron's own one.
    """
    neurons = [row for row, each in enumerate(shown) if isinstance(each, Neuron)]
    places = torch.tensor([(each.row, each.column) for each in shown if isinstance(each, Neuron)], device=device)

    def score(activations: Tensor) -> Tensor:
        directions = _directions(shown, activations)
        dots = torch.einsum("bchw,bc->bhw", activations, directions)
        lengths = activations.norm(dim=1) * directions.norm(dim=1)[:, None, None]
        cosines = (dots / lengths.clamp(min=1e-6)).clamp(min=_LEAST_COSINE)
        along = dots * cosines.pow(recipe.cosine_power)
        scores: Tensor = along.mean((1, 2))
        if neurons:
            rows, columns = places.T
            scores = scores.index_copy(0, torch.tensor(neurons, device=device), along[neurons, rows, columns])
        return scores

    return score


def _directions(shown: Sequence[Single], activations: Tensor) -> Tensor:
    """Return [B, C]."""
    directions = torch.zeros_like(activations[:, :, 0, 0])
    for row, each in zip(directions, shown, strict=True):
        if isinstance(each, Direction):
            row[:] = torch.tensor(each.components)
        else:
            row[each.channel] = 1
    return directions


def diversities(objectives: Sequence[Objective], activations: Tensor) -> Tensor:
    """Return each picture's unlikeness to the other facets times its weight, [B]; 0 where there is one alone.

    Pictures are compared by which channels are active together, wherever that is: the Gram matrices [C, C] of their
    activations [B, C, H, W], as in the article.
    """
    terms, first = [], 0
    for objective in objectives:
        count = objective.count if isinstance(objective, Facets) else 1
        if isinstance(objective, Facets) and count > 1:
            maps = activations[first : first + count].flatten(2)  # [count, C, H * W]
            grams = torch.nn.functional.normalize((maps @ maps.mT).flatten(1), dim=1)
            likeness = ((grams @ grams.T).sum(1) - 1) / (count - 1)
            terms.append(objective.diversity * (1 - likeness))
        else:
            terms.append(activations.new_zeros(count))
        first += count
    return torch.cat(terms)
