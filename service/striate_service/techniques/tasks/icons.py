"""Icons: a time slice of the optimization of several pictures."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from striate_service.models.description import ModelDescription
from striate_service.techniques.costs import FLOAT_BYTES, Cost
from striate_service.techniques.objective import Objective
from striate_service.techniques.recipe import Recipe
from striate_service.techniques.tasks.base import Array, ForwardSlice, Networks, Task, to_array

_STATE_ARRAYS = 4  # of a picture's size: parameters, Adam's two moments, attention


@dataclass(frozen=True)
class RenderResult:
    state: Mapping[str, Array]
    """As `feature_visualization.State.to_arrays` gives it."""
    pictures: Array | None
    """uint8 [B, size, size, 3 or 4], after step `last`: one for an objective, or all of its facets."""


@dataclass(frozen=True, eq=False)
class RenderTask(Task[RenderResult]):
    too_costly: ClassVar = ("channels", "ask for fewer facets")
    is_reply: ClassVar = False

    layer: str
    objectives: tuple[Objective, ...]
    recipe: Recipe
    state: Mapping[str, Array]
    """The result of the slices so far; empty before the first slice."""
    last: int
    """After which of the recipe's steps to return pictures, and to stop."""
    seconds: float
    """The slice's time limit; it always makes at least one step, and only one where others wait."""

    def cost(self, model: ModelDescription | None, images: int) -> Cost:
        pictures = FLOAT_BYTES * 3 * self.recipe.size**2 * len(self.objectives)
        return Cost(forwards=1, memory_bytes=2 * _STATE_ARRAYS * pictures, result_bytes=_STATE_ARRAYS * pictures)

    def run(self, forward: ForwardSlice | None, networks: Networks) -> RenderResult:
        from functools import partial

        from striate_service.models.layouts import to_map
        from striate_service.techniques import feature_visualization

        device = networks.device
        state = (
            feature_visualization.State.from_arrays(dict(self.state), device=device)
            if self.state
            else feature_visualization.start(self.recipe, self.objectives, device=device)
        )
        state = feature_visualization.advance(
            networks.module(self.model),
            self.layer,
            self.objectives,
            self.recipe,
            state,
            preprocessing=networks.preprocessing(self.model),
            as_map=partial(to_map, layer=networks.layer(self.model, self.layer)),
            last=self.last,
            until=_until(time.monotonic() + self.seconds, networks.others_wait),
        )
        reached = state.step >= self.last
        pictures = to_array(feature_visualization.pictures(state, self.recipe)) if reached else None
        return RenderResult(state.to_arrays(), pictures)


def _until(end: float, others_wait: Callable[[], bool]) -> Callable[[], bool]:
    """Return a function to call after each step: true where another step of average length would end after `end`, or
    others wait."""
    started, steps = time.monotonic(), itertools.count(1)

    def until() -> bool:
        now = time.monotonic()
        return now + (now - started) / next(steps) > end or others_wait()

    return until
