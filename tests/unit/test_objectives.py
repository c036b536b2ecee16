"""Objectives add and multiply as their scores do, keep their names in the store, and are added by decorating."""

from __future__ import annotations

import hashlib
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from striate_service.techniques.feature_visualization import objective
from striate_service.techniques.feature_visualization.objectives import scorer
from striate_service.techniques.feature_visualization.registry import ObjectiveError, import_objectives, score_of
from striate_service.techniques.objective import (
    MAX_TERMS,
    Channel,
    Direction,
    Facets,
    Named,
    Neuron,
    Signature,
    Single,
    Sum,
    picture_texts,
)
from striate_service.techniques.recipe import Fourier
from torch import Tensor

RECIPE = Fourier()


def test_stored_icons_keep_their_names() -> None:
    digest = hashlib.sha256(struct.pack("<3f", 0.5, -1.0, 0.25)).hexdigest()
    assert Channel(12).text == "channel:12"
    assert Neuron(3, 2, 4).text == "neuron:3:2:4"
    assert Direction((0.5, -1.0, 0.25)).text == f"direction:{digest}"
    assert picture_texts(Facets(Channel(12), 2)) == (
        "channel:12,facet=0,of=2,diversity=0.5",
        "channel:12,facet=1,of=2,diversity=0.5",
    )


def test_a_sum_has_one_name_however_it_is_written() -> None:
    both = Channel(12) + 0.5 * Neuron(3, 2, 4)
    assert both.text == "1.0*channel:12+0.5*neuron:3:2:4"
    for same in (
        Neuron(3, 2, 4) * 0.5 + Channel(12),
        0.25 * (Neuron(3, 2, 4) + 2 * Channel(12)) + 0.25 * Neuron(3, 2, 4) + Channel(12) * np.float32(0.5),
        sum([Channel(12), 0.5 * Neuron(3, 2, 4)]),
        Channel(12) - -0.5 * Neuron(3, 2, 4) + Channel(1) - Channel(1),
        pickle.loads(pickle.dumps(both)),
    ):
        assert same == both
        assert hash(same) == hash(both)
        assert same.text == both.text
    assert 1 * Channel(12) == Channel(12), "its stored icon is found"
    assert (-1 * Channel(5)).text == (-Channel(5)).text == "-1.0*channel:5"
    assert Named("center", version=2, row=1, channel=np.int64(12)).text == "named:center:version=2:channel=12:row=1"
    assert picture_texts(Facets(Channel(1) - Channel(2), 1)) == (
        "1.0*channel:1+-1.0*channel:2,facet=0,of=1,diversity=0.5",
    )


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: float("nan") * Channel(1), "finite"),
        (lambda: float("inf") * Channel(1), "finite"),
        (lambda: 1e9 * Channel(1), "at most 1000000"),
        (lambda: 0 * Channel(1), "shows nothing"),
        (lambda: Channel(1) - Channel(1), "shows nothing"),
        (lambda: sum(map(Channel, range(MAX_TERMS + 1))), "17 terms; at most 16"),
        (lambda: Named("a:b", channel=1), "'a:b' cannot name an objective"),
        (lambda: Named("center", channel=float("inf")), "channel is inf"),
    ],
)
def test_what_cannot_be_pictured_is_no_objective(make: Callable[[], object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Channel(1) + 1,
        lambda: 1 + Channel(1),
        lambda: Channel(1) * "2",
        lambda: Channel(1) + Facets(Channel(1), 2),
    ],
)
def test_only_objectives_add_and_only_numbers_multiply(make: Callable[[], object]) -> None:
    with pytest.raises(TypeError):
        make()


def test_objectives_are_values_without_torch() -> None:
    code = "import striate_service.techniques.objective, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def gradient(shown: Single, activations: Tensor, recipe: Fourier = RECIPE) -> Tensor:
    """Return the gradient of the score [B] at activations [B, C, H, W], each picture showing the same."""
    leaf = activations.clone().requires_grad_()
    (found,) = torch.autograd.grad(scorer([shown] * len(leaf), recipe)(leaf).sum(), leaf)
    return found


def plain_score(activations: Tensor, channel: int) -> Tensor:
    """a . d cos(a, d), mean over positions, for the direction d of one channel, written out for one picture at once."""
    along = activations[:, channel]
    return (along * (along / activations.square().sum(1).sqrt()).clamp(min=0.1)).mean((1, 2))


def test_the_gradient_of_a_sum_is_the_sum_of_gradients() -> None:
    activations = torch.randn(3, 6, 5, 4, generator=torch.Generator().manual_seed(0)).relu()
    shown = Channel(1) + 0.5 * Neuron(3, 2, 1) - 2 * Channel(4)
    expected = gradient(Channel(1), activations) + 0.5 * gradient(Neuron(3, 2, 1), activations)
    torch.testing.assert_close(gradient(shown, activations), expected - 2 * gradient(Channel(4), activations))

    leaf = activations.clone().requires_grad_()
    (plain,) = torch.autograd.grad((plain_score(leaf, 1) - 2 * plain_score(leaf, 4)).sum(), leaf)
    torch.testing.assert_close(gradient(Channel(1) - 2 * Channel(4), activations), plain)


def test_a_pictures_score_is_its_own_whatever_is_beside_it() -> None:
    activations = torch.rand(4, 6, 5, 4, generator=torch.Generator().manual_seed(0))
    shown: list[Single] = [
        Channel(1) - Channel(2),
        Neuron(3, 2, 1),
        -0.5 * Direction((0.0, 1.0, 0, 0, 0, 0)),
        Channel(1),
    ]
    together = scorer(shown, RECIPE)(activations)
    alone = [scorer([each], RECIPE)(activations[row : row + 1])[0] for row, each in enumerate(shown)]
    torch.testing.assert_close(together, torch.stack(alone))


@objective("test.mean", version=3)
def mean(activations: Tensor, channel: int, factor: float = 1.0) -> Tensor:
    return factor * activations[:, channel].mean((1, 2))


@objective("test.at")
def at(activations: Tensor, channel: int, row: int, column: int) -> Tensor:
    return activations[:, channel, row, column]


@objective("test.shapeless")
def shapeless(activations: Tensor, channel: int) -> Tensor:
    return activations[:, channel].mean()


@objective("test.infinite")
def infinite(activations: Tensor, channel: int) -> Tensor:
    return activations[:, channel].mean((1, 2)) / 0


def test_a_decorated_function_is_an_objective_like_others() -> None:
    activations = torch.rand(3, 6, 5, 4, generator=torch.Generator().manual_seed(0))
    plainly = replace(RECIPE, cosine_power=0.0)
    named, own = Named("test.mean", version=3, channel=2), Channel(2)
    torch.testing.assert_close(gradient(named, activations, plainly), gradient(own, activations, plainly))
    torch.testing.assert_close(
        gradient(named - 3 * Named("test.at", channel=1, row=4, column=0), activations, plainly),
        gradient(own - 3 * Neuron(1, 4, 0), activations, plainly),
    )
    assert isinstance(0.5 * named, Sum)
    torch.testing.assert_close(mean(activations, 2), activations[:, 2].mean((1, 2)), msg="the function stays one")


def test_what_is_registered_is_listed_with_what_it_takes() -> None:
    listed = {each.name: each for each in import_objectives([])}
    assert listed["test.mean"] == Signature("test.mean", 3, ("channel",))
    assert listed["test.mean"].at(7, 1, 2) == Named("test.mean", version=3, channel=7)
    assert listed["test.at"].at(7, 1, 2) == Named("test.at", channel=7, row=1, column=2)


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        (Named("test.none", channel=1), "no version 1 of the objective 'test.none'"),
        (Named("test.mean", channel=1), "no version 1 of the objective 'test.mean'"),
        (Named("test.shapeless", channel=1), r"shape \[2\], one a picture, not \[\]"),
        (Named("test.infinite", channel=1), "not finite"),
    ],
)
def test_a_function_that_gives_no_score_is_named(named: Named, problem: str) -> None:
    with pytest.raises(ObjectiveError, match=problem):
        score_of(named)(torch.ones(2, 3, 4, 4))


def test_a_mistake_of_registering_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def takes_more(activations: Tensor, channel: int, sharpness: float) -> Tensor:
        return activations[:, channel].mean((1, 2)) * sharpness

    for name, function, problem in (
        ("test.mean", at, r"two objectives are called 'test\.mean': .*\.mean and .*\.at"),
        ("channel", mean, "built in"),
        ("über", mean, "cannot name an objective"),
        ("test.more", takes_more, r"\(activations, channel\)"),
    ):
        with pytest.raises(ValueError, match=problem):
            objective(name)(function)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "wrong_objectives.py").write_text("1 / 0\n")
    for module, problem in (("no_such_objectives", "No module named"), ("wrong_objectives", "ZeroDivisionError")):
        with pytest.raises(ObjectiveError, match=f"'{module}' of the setting `objectives`.*{problem}"):
            import_objectives([module])
