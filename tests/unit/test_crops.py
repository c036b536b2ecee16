"""Crops show where maps are strongest, within the picture, each place once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from striate_service.techniques.crops import strongest_places


def test_the_strongest_places_come_first_and_nothing_is_shown_twice() -> None:
    maps = np.zeros((2, 14, 14), np.float32)
    maps[0, 3, 10], maps[0, 4, 10] = 5, 4.5  # one place, over two positions
    maps[1, 13, 0] = 2
    first, second = strongest_places(maps, 4)
    assert (first.image, first.strength) == (0, 5)
    assert first.box == pytest.approx((8 / 14, 1 / 14, 13 / 14, 6 / 14))
    assert (second.image, second.strength) == (1, 2)
    assert second.box == pytest.approx((0, 9 / 14, 5 / 14, 1)), "moved inwards at the edge"


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 15), st.integers(1, 15))
def test_places_lie_within_the_picture_and_apart(seed: int, images: int, height: int, width: int) -> None:
    maps = np.random.default_rng(seed).random((images, height, width)).astype(np.float32)
    places = strongest_places(maps, 6)
    assert places[0].strength == maps.max()
    at = []
    for place in places:
        left, top, right, bottom = place.box
        assert 0 <= left < right <= 1 + 1e-9
        assert 0 <= top < bottom <= 1 + 1e-9
        image, row, column = (int(index[0]) for index in np.where(maps == np.float32(place.strength)))
        assert image == place.image
        assert left < (column + 0.5) / width < right
        assert top < (row + 0.5) / height < bottom
        at.append((image, row, column, place.strength))
    for number, (image, row, column, strength) in enumerate(at):
        for other_image, other_row, other_column, more in at[:number]:
            assert strength <= more
            assert image != other_image or abs(row - other_row) > 2 or abs(column - other_column) > 2


def test_a_group_that_is_nowhere_has_no_places() -> None:
    assert strongest_places(np.zeros((1, 7, 7), np.float32), 4) == []
