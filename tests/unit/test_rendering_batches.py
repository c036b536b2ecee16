"""What is optimized together can be taken apart, saved, and joined again, facets and all."""

from __future__ import annotations

import asyncio

import numpy as np
from striate_service.explain.rendering.batch import Batch, Rendering, batches, split_state
from striate_service.explain.rendering.subject import IconSubject
from striate_service.techniques.feature_visualization import start
from striate_service.techniques.objective import Channel, Facets, Named, Objective
from striate_service.techniques.recipe import Fourier


def rendering(objective: Objective, recipe: Fourier) -> Rendering:
    return Rendering(IconSubject("parts", "ab" * 32, "mixed4a", objective, recipe))


def test_facets_stay_together_when_a_batch_is_taken_apart() -> None:
    async def check() -> None:
        recipe = Fourier(size=8)
        objectives: list[Objective] = [Channel(1), Facets(Channel(2), 3), Channel(3)]
        renderings = [rendering(objective, recipe) for objective in objectives]
        state = start(recipe, objectives).to_arrays() | {"attention": np.arange(5)}
        saved = split_state(Batch(renderings, state))
        assert [part["attention"].tolist() for part in saved] == [[0], [1, 2, 3], [4]]
        (again,) = batches(renderings[::-1], saved[::-1])
        assert again.state["attention"].tolist() == [4, 1, 2, 3, 0]
        assert len({address.path for each in renderings for address in each.addresses}) == 5
        facets = start(recipe, objectives).parameters[1:4].numpy()
        assert not np.array_equal(facets[0], facets[1]), "they would stay the same for ever"

    asyncio.run(check())


def test_a_function_of_a_users_is_in_no_batch_with_other_icons() -> None:
    async def check() -> None:
        shown = [Named("center", channel=1), Facets(Channel(1) + Named("center", channel=2), 2), Channel(1), Channel(2)]
        groups = [rendering(objective, Fourier(size=8)).subject.group for objective in shown]
        assert [groups.index(group) for group in groups] == [0, 0, 2, 2]

    asyncio.run(check())
