"""What is said of groups in words agrees with their numbers."""

from __future__ import annotations

import numpy as np
import pytest
from striate import Factorization, Group, Icon, Label, Layer, Model
from striate.results.images import Predictions
from striate.show.findings import findings


def group(name: str, **effects: float) -> Group:
    return Group(
        label=Label(name),
        color="#ff0000",
        icon_file=Icon("queued"),
        importance=0.4,
        channels=[1, 2, 3],
        effects=effects,
        sobol_indices={},
        crops=[],
    )


def groups(*given: Group, predictions: list[Predictions]) -> Factorization:
    empty = np.zeros((0,), np.float32)
    return Factorization(
        model=Model("net", "v"),
        layer=Layer("conv", "Conv2d", (3, 2, 2)),
        views=[],
        predictions=predictions,
        spatial=empty,
        directions=empty,
        relative_error=0.5,
        groups=list(given),
        classes=["dog"],
        effects=empty,
        residual_effects=empty,
        overlays=[],
        images=[],
    )


def test_prediction_share_and_the_strongest_groups_are_told() -> None:
    found = groups(group("ears", dog=1.25), group("grass", dog=-0.5), predictions=[[("dog", 0.87), ("cat", 0.1)]])
    assert findings("dog.jpg", found) == (
        "dog.jpg: net says dog 87%. Two groups of neurons explain 75% of its layer conv. Most for dog speaks group 1 "
        "(ears), +1.2; most against dog speaks group 2 (grass), -0.5."
    )


def test_layers_of_one_image_share_its_prediction() -> None:
    found = groups(group("ears", dog=1.25), predictions=[[("dog", 0.87)]])
    words = findings("dog.jpg", found, found)
    assert words.count("net says dog 87%") == 1
    assert words.count("One group of neurons explains 75% of its layer conv.") == 2


@pytest.mark.parametrize("predictions", [[], [[]]])
def test_without_classes_only_the_share_is_told(predictions: list[Predictions]) -> None:
    found = groups(group("ears"), predictions=predictions)
    assert findings("dog.jpg", found) == "dog.jpg: One group of neurons explains 75% of its layer conv."


def test_nothing_is_said_against_where_every_group_speaks_for_it() -> None:
    found = groups(group("ears", dog=1.0), group("snout", dog=0.5), predictions=[[("dog", 1.0)]])
    assert "against" not in findings("dog.jpg", found)


def test_nothing_is_said_for_it_where_every_group_speaks_against_it() -> None:
    found = groups(group("ears", dog=-1.0), group("snout", dog=-0.5), predictions=[[("dog", 0.3)]])
    assert "Most for" not in findings("dog.jpg", found)
    assert "Most against dog speaks group 1 (ears), -1.0." in findings("dog.jpg", found)
