"""What icons maximize: from values (recipe.py) to a function of a layer's activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from striate_service.techniques.recipe import Channel, Direction, Objective, Recipe

_LEAST_COSINE = 0.1  # keeps the gradient of a direction that points away (Lucid, objectives.py)


def scorer(objectives: Sequence[Objective], recipe: Recipe, device: torch.device) -> Callable[[Tensor], Tensor]:
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
