"""What icons maximize: from values (recipe.py) to functions of a layer's activations.

Notation: B pictures; an objective asks for one, or for several facets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from striate_service.techniques.recipe import Direction, Facets, Neuron, Objective, Recipe, Single

_LEAST_COSINE = 0.1  # keeps the gradient of a direction that points away (Lucid, objectives.py)


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
    """Return the function from activations [B, C, H, W] to the scores [B] that pictures maximize, each for itself."""
    rows = torch.arange(len(shown), device=device)
    channels = torch.tensor([0 if isinstance(each, Direction) else each.channel for each in shown], device=device)
    neurons = [row for row, each in enumerate(shown) if isinstance(each, Neuron)]
    places = [(each.row, each.column) for each in shown if isinstance(each, Neuron)]
    directed = [row for row, each in enumerate(shown) if isinstance(each, Direction)]
    directions = torch.tensor([each.components for each in shown if isinstance(each, Direction)], device=device)

    def score(activations: Tensor) -> Tensor:
        scores = activations[rows, channels].mean((1, 2))
        if neurons:
            at = torch.tensor(places, device=device).T
            alone = activations[neurons, channels[neurons], at[0], at[1]]
            scores = scores.index_copy(0, torch.tensor(neurons, device=device), alone)
        if directed:
            maps = activations[directed]
            dots = torch.einsum("bchw,bc->bhw", maps, directions)
            cosines = dots / (maps.norm(dim=1) * directions.norm(dim=1)[:, None, None]).clamp(min=1e-6)
            along = dots * cosines.clamp(min=_LEAST_COSINE) ** recipe.cosine_power
            scores = scores.index_copy(0, torch.tensor(directed, device=device), along.mean((1, 2)))
        return scores

    return score


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
