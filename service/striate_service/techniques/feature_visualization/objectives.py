"""What icons maximize: for the values of objective.py, functions of a layer's activations.

Each function takes activations [B, C, H, W] and returns scores [B], one per picture; users add more (registry.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from striate_service.techniques.feature_visualization.registry import Score, score_of
from striate_service.techniques.objective import Directed, Direction, Facets, Named, Neuron, Objective, Single, Term
from striate_service.techniques.recipe import Recipe

_LEAST_COSINE = 0.1  # keeps a gradient where activations point away (Lucid, objectives.py)


def excitation(activations: Tensor, directions: Tensor, cosine_power: float = 1.0) -> Tensor:
    """Return how much each position excites its picture's direction, [B, H, W]; a channel is a direction.

    It equals a . d cos(a, d) ** power for the position's activations a and the direction d (Lucid, objectives.py,
    `_dot_cossim`). Without the cosine a picture would also excite correlated channels.

    Args:
        activations: [B, C, H, W].
        directions: [B, C].
    """
    dots = torch.einsum("bchw,bc->bhw", activations, directions)
    lengths = activations.norm(dim=1) * directions.norm(dim=1)[:, None, None]
    cosines = (dots / lengths.clamp(min=1e-6)).clamp(min=_LEAST_COSINE)
    along: Tensor = dots * cosines.pow(cosine_power)
    return along


def directed(activations: Tensor, shown: Sequence[Directed], cosine_power: float = 1.0) -> Tensor:
    """Return each picture's mean excitation of its channel or direction, or the excitation of its one neuron, [B].

    Args:
        activations: [B, C, H, W].
        shown: [B]. One product computes all of them.
    """
    along = excitation(activations, _directions(shown, activations), cosine_power)
    scores: Tensor = along.mean((1, 2))
    places = [(row, each.row, each.column) for row, each in enumerate(shown) if isinstance(each, Neuron)]
    if places:
        rows, down, across = torch.tensor(places, device=activations.device).T
        scores = scores.index_copy(0, rows, along[rows, down, across])
    return scores


def _directions(shown: Sequence[Directed], activations: Tensor) -> Tensor:
    """Return each picture's direction, [B, C]."""
    directions = torch.zeros_like(activations[:, :, 0, 0])
    for row, each in zip(directions, shown, strict=True):
        if isinstance(each, Direction):
            row[:] = torch.tensor(each.components)
        else:
            row[each.channel] = 1
    return directions


def scorer(shown: Sequence[Single], recipe: Recipe) -> Score:
    """Return the function from activations [B, C, H, W] to the scores [B]; each picture maximizes its own.

    A picture's score is the weighted sum of its terms' scores.

    Args:
        shown: each picture's objective, [B].

    Raises:
        ObjectiveError: an objective is not registered.
    """
    groups = _groups(shown, recipe)
    if len(groups) == 1 and groups[0].rows == tuple(range(len(shown))) and set(groups[0].weights) == {1.0}:
        return groups[0].score  # one term per picture, in their order: nothing to gather or add

    def score(activations: Tensor) -> Tensor:
        pictures = torch.split(activations, 1)
        parts: list[list[Tensor]] = [[] for _ in shown]
        for group in groups:
            scores = group.score(torch.cat([pictures[row] for row in group.rows]))
            for row, weight, part in zip(group.rows, group.weights, scores, strict=True):
                parts[row].append(weight * part)
        return torch.stack([torch.stack(each).sum() for each in parts])

    return score


@dataclass(frozen=True)
class _Group:
    """Terms that one call scores."""

    score: Score
    """From the activations of the terms' pictures, [T, C, H, W], to the terms' scores, [T]."""
    rows: tuple[int, ...]
    """Each term's picture, [T]."""
    weights: tuple[float, ...]
    """[T]"""


def _groups(shown: Sequence[Single], recipe: Recipe) -> list[_Group]:
    """Group all terms: one group of directions, and one for each named objective."""
    members: dict[Named | None, list[tuple[int, float, Term]]] = defaultdict(list)
    for row, each in enumerate(shown):
        for weight, term in each.terms:
            members[term if isinstance(term, Named) else None].append((row, weight, term))
    groups = []
    for named, group in members.items():
        rows, weights, terms = zip(*group, strict=True)
        score = score_of(named) if named else partial(directed, shown=terms, cosine_power=recipe.cosine_power)
        groups.append(_Group(score, rows, weights))
    return groups


def facet_numbers(objectives: Sequence[Objective]) -> list[int]:
    """Return each picture's facet number, [B]; 0 for an objective without facets."""
    return [
        number for objective in objectives for number in range(objective.count if isinstance(objective, Facets) else 1)
    ]


def diversities(objectives: Sequence[Objective], activations: Tensor) -> Tensor:
    """Return each picture's difference from the other facets, times `diversity`, [B]; 0 without other facets.

    Pictures are compared by which channels are active together at any position: by the Gram matrices [C, C] of their
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
