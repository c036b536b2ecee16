"""The pictures that the embedded model learns from: reproducible, and their masks tell the truth."""

from __future__ import annotations

import numpy as np
import pytest
from striate_service.models.embedded import CLASSES, INPUT_SIZE
from striate_service.models.embedded.pictures import PARTS, SCENERY, SIZE, Picture, draw

# What can be told of a class whatever its pose: parts that each of its pictures has, before anything hides them.
_PARTS_OF = {
    "dog": {"head", "eye", "floppy ear", "snout", "nose"},
    "cat": {"head", "eye", "pointed ear", "nose", "whiskers"},
    "bear": {"head", "eye", "round ear", "snout", "nose"},
    "rabbit": {"head", "eye", "long ear", "nose"},
    "owl": {"head", "eye", "beak", "wing", "pointed ear"},
    "bird": {"head", "eye", "beak", "wing", "tail"},
    "fish": {"scales", "eye", "fin", "tail fin"},
    "car": {"bodywork", "wheel", "window", "door", "headlight"},
    "bus": {"bodywork", "wheel", "window", "door"},
    "truck": {"bodywork", "wheel", "window", "cargo box"},
    "bicycle": {"wheel", "frame", "handlebar", "saddle"},
    "house": {"wall", "roof", "door"},
    "church": {"wall", "roof", "door", "window", "cross"},
    "cup": {"vessel", "handle", "rim"},
    "teapot": {"vessel", "handle", "spout", "lid"},
    "clock": {"dial", "clock hands"},
}


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [draw(seed) for seed in range(80)]


def test_the_same_seed_gives_the_same_picture() -> None:
    first, second = draw(5), draw(5)
    assert np.array_equal(first.image, second.image)
    assert first.label == second.label
    assert first.masks.keys() == second.masks.keys()
    assert all(np.array_equal(first.masks[part], second.masks[part]) for part in first.masks)


def test_pictures_are_of_the_size_that_the_model_takes(pictures: list[Picture]) -> None:
    assert SIZE == INPUT_SIZE
    assert all(p.image.shape == (SIZE, SIZE, 3) and p.image.dtype == np.uint8 for p in pictures)


def test_every_mask_has_a_known_name_and_shows_something(pictures: list[Picture]) -> None:
    for picture in pictures:
        assert picture.masks.keys() <= {*PARTS, *SCENERY}
        assert all(mask.shape == (SIZE, SIZE) and mask.any() for mask in picture.masks.values())


def test_every_class_and_every_part_comes_up() -> None:
    drawn = [draw(15 * label + seed, name) for label, name in enumerate(CLASSES) for seed in range(15)]
    assert {part for picture in drawn for part in picture.masks} == {*PARTS, *SCENERY}
    assert {picture.label for picture in drawn} == set(range(len(CLASSES)))


@pytest.mark.parametrize("name", _PARTS_OF)
def test_a_class_shows_its_parts(name: str) -> None:
    drawn = [draw(seed, name, difficulty=0.0) for seed in range(8)]
    shown = [len(_PARTS_OF[name] & picture.masks.keys()) / len(_PARTS_OF[name]) for picture in drawn]
    assert np.mean(shown) > 0.85  # a little is cut off by the picture's edge


def test_most_parts_belong_to_objects(pictures: list[Picture]) -> None:
    for picture in pictures:
        parts = np.zeros((SIZE, SIZE), bool)
        for part, mask in picture.masks.items():
            if part in PARTS:
                parts |= mask
        objects = np.any(list(picture.objects.values()), axis=0) if picture.objects else ~parts
        assert (parts & ~objects).sum() <= 0.05 * parts.sum()


def test_difficulty_hides_more() -> None:
    easy = [sum(int(m.sum()) for m in draw(seed, "car", 0.0).masks.values()) for seed in range(25)]
    hard = [sum(int(m.sum()) for m in draw(seed, "car", 4.0).masks.values()) for seed in range(25)]
    assert sum(hard) < 0.97 * sum(easy)
