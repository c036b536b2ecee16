"""Icons are rendered in the order of who wants them, and not at all when nobody does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from striate_service.errors import TooManyIcons
from striate_service.explain.rendering import IconQueue, IconSubject, Owner, Urgency
from striate_service.explain.rendering.batch import Batch
from striate_service.stores.leases import Lease
from striate_service.techniques.feature_visualization import start
from striate_service.techniques.objective import Channel, Direction, Facets, Objective
from striate_service.techniques.recipe import PREVIEW_STEPS, Fourier

RECIPE = Fourier(size=8)


def subjects(*objectives: Objective) -> list[IconSubject]:
    return [IconSubject("parts", "ab" * 32, "mixed4a", objective, RECIPE) for objective in objectives]


def channels(*numbers: int) -> list[IconSubject]:
    return subjects(*map(Channel, numbers))


def order(queue: IconQueue) -> list[object]:
    """Take all that waits, and return what it shows."""
    shown: list[object] = []
    while chosen := queue.take_next():
        renderings = chosen.renderings if isinstance(chosen, Batch) else chosen
        shown += [rendering.subject.objective for rendering in renderings]
    return shown


def begin(queue: IconQueue) -> Batch:
    """Take what is next, and leave it as it is between two slices."""
    chosen = queue.take_next()
    assert isinstance(chosen, list)
    batch = Batch(chosen, start(RECIPE, [each.subject.objective for each in chosen]).to_arrays())
    queue.begun.append(batch)
    return batch


async def test_who_waits_goes_first_then_groups_then_the_dearest_of_each_caller() -> None:
    queue = IconQueue(1, 100, 100)
    queue.want(channels(0), Owner(Urgency.IDLE))
    queue.want(channels(1), Owner(Urgency.DETACHED))
    queue.want(channels(2), Owner(Urgency.AHEAD, "ann"))
    queue.want(channels(3, 4), Owner(Urgency.AWAITED, "ann"))
    queue.want(channels(5, 6), Owner(Urgency.AWAITED, "bob"))
    queue.want(subjects(Direction((0.0, 1.0))), Owner(Urgency.AWAITED, "eve"))
    queue.want(channels(1), Owner(Urgency.AWAITED, "dan"))
    dearest = [Channel(1), Channel(3), Channel(5)]
    assert order(queue) == [Direction((0.0, 1.0)), *dearest, Channel(4), Channel(6), Channel(2), Channel(0)]


async def test_what_has_begun_goes_on_unless_somebody_waits_who_goes_before() -> None:
    queue = IconQueue(1, 100, 100)
    queue.want(channels(0), Owner(Urgency.DETACHED))
    begun = begin(queue)
    queue.want(channels(1), Owner(Urgency.DETACHED))
    queue.want(channels(2), Owner(Urgency.AWAITED))
    assert order(queue) == [Channel(2), Channel(0), Channel(1)]
    queue.begun.append(begun)
    queue.want(channels(3), Owner(Urgency.DETACHED))
    assert order(queue) == [Channel(0), Channel(3)], "equally urgent"


def show(queue: IconQueue) -> tuple[list[Objective], bool]:
    """Take what is next to its next pictures, and return what that is, and whether these are quick ones."""
    chosen = queue.take_next()
    assert isinstance(chosen, list)
    quick = Batch(chosen, {}).next_pictures == PREVIEW_STEPS
    if quick:
        for rendering in chosen:
            rendering.preview, rendering.lease = b"picture", Lease(rendering.name, 0)
        queue.previewed(chosen)
    return [rendering.subject.objective for rendering in chosen], quick


async def test_quick_pictures_of_all_come_first_and_then_all_are_finished_in_that_order() -> None:
    queue = IconQueue(2, 100, 100)
    ann, bob = Owner(Urgency.AWAITED, "ann", previews=True), Owner(Urgency.AWAITED, "bob")
    shown = subjects(Channel(0), Channel(1), Channel(2), Direction((0.0, 1.0)))
    asked = queue.want(shown, ann)
    quick = [show(queue), show(queue)]
    assert quick == [([Direction((0.0, 1.0)), Channel(0)], True), ([Channel(1), Channel(2)], True)]
    queue.want(channels(7, 1), bob)
    assert show(queue) == ([Channel(7)], False), "who wants no quick pictures is not kept waiting for what has one"
    assert show(queue) == ([Direction((0.0, 1.0)), Channel(0)], False)
    assert queue.release(asked, ann) == [], "what is saved is given back first"
    assert queue.take_unwanted() == [asked[2]]
    assert show(queue) == ([Channel(1)], False)
    assert queue.take_next() == []


async def test_what_was_saved_after_its_quick_picture_is_shown_at_once_to_who_asks_again() -> None:
    queue = IconQueue(2, 100, 100)
    wanted = queue.want(channels(0), Owner(Urgency.AWAITED, previews=True))
    steps = [Batch(wanted, {"step": np.array(step)}).next_pictures for step in (0, 15, 40, RECIPE.steps - 1)]
    assert steps == [PREVIEW_STEPS, PREVIEW_STEPS, 41, RECIPE.steps]
    wanted[0].preview = b"picture"
    assert Batch(wanted, {"step": np.array(41)}).next_pictures == RECIPE.steps


async def test_what_nobody_wants_any_more_is_forgotten() -> None:
    queue = IconQueue(2, 100, 100)
    ann, bob = Owner(Urgency.AWAITED, "ann"), Owner(Urgency.AWAITED, "bob")
    asked = queue.want([*channels(0, 1), *subjects(Facets(Channel(2), 3))], ann)
    shared = queue.want(channels(1), bob)
    assert shared == [asked[1]]
    assert queue.pictures == 5
    assert queue.release(asked, ann) == [asked[0], asked[2]]
    assert queue.pictures == 1
    assert [each.icons.cancelled() for each in asked] == [True, False, True]
    assert order(queue) == [Channel(1)]
    (again,) = queue.want(channels(0), ann)
    assert again is not asked[0]


async def test_a_batch_goes_on_with_those_that_somebody_wants() -> None:
    queue = IconQueue(3, 100, 100)
    ann, bob = Owner(Urgency.AWAITED), Owner(Urgency.AWAITED)
    asked = queue.want(channels(0, 1, 2), ann)
    queue.own(asked[1:2], bob)
    whole = begin(queue)
    assert queue.release(asked, ann) == [], "what has begun is saved first"
    assert queue.take_unwanted() == [asked[0], asked[2]]
    assert queue.pictures == 1
    (rest,) = queue.begun
    assert rest.renderings == [asked[1]]
    np.testing.assert_array_equal(rest.state["parameters"], whole.state["parameters"][1:2])
    queue.release(asked[1:2], bob)
    assert queue.take_unwanted() == [asked[1]]
    assert queue.begun == []


async def test_what_is_rendered_elsewhere_is_not_waited_for_in_vain() -> None:
    queue = IconQueue(1, 100, 100)
    ann = Owner(Urgency.AWAITED)
    (wanted, unwanted) = queue.want(channels(0, 1), ann)
    for _ in range(2):
        queue.take_next()
    queue.release([unwanted], ann)
    queue.wait_elsewhere(wanted, 0.5)
    queue.wait_elsewhere(unwanted, 0.5)
    assert queue.elsewhere == [wanted]
    queue.look_again()
    assert order(queue) == [Channel(0)]
    assert queue.pictures == 1


async def test_queues_are_bounded_in_all_and_by_caller() -> None:
    queue = IconQueue(1, 8, 5)

    def want(wanted: Sequence[IconSubject], caller: str) -> Owner:
        owner = Owner(Urgency.AWAITED, caller)
        queue.want(wanted, owner)
        return owner

    want(channels(0, 1, 2), "ann")
    with pytest.raises(TooManyIcons, match="ann waits for 3 icons, and one caller may for at most 5"):
        want(channels(0, 1, 2), "ann")
    bob = Owner(Urgency.AWAITED, "bob")
    found = queue.want(channels(3, 4, 5, 6, 7), bob)
    with pytest.raises(TooManyIcons, match="8 icons wait to be rendered, and this server takes at most 8"):
        want(channels(8), "eve")
    want(channels(0, 1), "ann")  # what is queued anyway has room
    queue.release(found, bob)
    want(channels(8, 9), "bob")
    assert queue.pictures == 5
