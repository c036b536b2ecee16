"""Icons excite what they are icons of, the same each time, however their rendering is cut into slices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from striate_service.config import EMBEDDED
from striate_service.models.description import Preprocessing
from striate_service.models.layers import capture
from striate_service.models.loading import LoadedModel, load_model
from striate_service.models.torchvision_compat import import_torchvision
from striate_service.techniques.feature_visualization import RedirectedReLU, State, advance, pictures, start
from striate_service.techniques.recipe import Channel, Direction, Recipe

LAYER = "mixed4a"
SHORT = Recipe(size=64, steps=24)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(EMBEDDED)


def render(model: LoadedModel, objectives: list[Channel | Direction], recipe: Recipe = SHORT, stop: int = 0) -> State:
    """Render, in slices of `stop` steps where it is not 0, each from plain arrays as if in a process of its own."""
    state = start(recipe, len(objectives))
    while state.step < recipe.steps:
        count = itertools.count(1)
        state = advance(
            model.network,
            LAYER,
            objectives,
            recipe,
            State.from_arrays(dict(state.to_arrays())),
            preprocessing=model.description.preprocessing,
            until=lambda count=count: next(count) == stop,
        )
    return state


def test_an_icon_excites_its_channel_more_than_any_other_icon_does(model: LoadedModel) -> None:
    channels = [3, 40, 77, 150]
    icons = pictures(render(model, [Channel(channel) for channel in channels])).permute(0, 3, 1, 2) / 255
    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in (model.description.preprocessing.mean, model.description.preprocessing.std)
    )
    maps = capture(model.network, (icons - mean) / std, [LAYER]).layers[LAYER]
    excitation = maps.mean((2, 3))[:, channels]  # [icon, channel]
    np.testing.assert_array_equal(excitation.argmax(0), range(len(channels)))


def test_slices_make_no_difference(model: LoadedModel) -> None:
    objectives: list[Channel | Direction] = [Channel(3), Channel(40)]
    whole, sliced = render(model, objectives), render(model, objectives, stop=5)
    torch.testing.assert_close(whole.spectrum, sliced.spectrum, rtol=0, atol=0)


def test_company_makes_no_difference(model: LoadedModel) -> None:
    alone = pictures(render(model, [Channel(40)]))[0].int()
    direction = Direction(tuple(np.random.default_rng(0).random(160).tolist()))
    among = pictures(render(model, [Channel(3), Channel(40), direction]))[1].int()
    assert (alone - among).abs().float().mean() < 1, "of 255: sums in another order differ in the last bit"


def test_a_direction_along_one_channel_excites_it(model: LoadedModel) -> None:
    along = [0.0] * 160
    along[40] = 1.0
    icons = pictures(render(model, [Direction(tuple(along)), Channel(3)])).permute(0, 3, 1, 2) / 255
    maps = capture(model.network, (icons - 0.5) / 0.25, [LAYER]).layers[LAYER]
    excitation = maps.mean((2, 3))[:, 40]
    assert excitation[0] > 1.5 * excitation[1]


def test_redirected_gradients_reach_a_silent_neuron_and_leave_others_alone() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.ReLU(inplace=True))
    torch.nn.init.constant_(network[0].bias, -100.0)
    silent = torch.rand(1, 3, 4, 4, requires_grad=True)
    network(silent).sum().backward()
    assert silent.grad.abs().sum() == 0
    with RedirectedReLU():
        (-network(silent).sum()).backward()
    assert silent.grad.abs().sum() > 0

    torch.nn.init.constant_(network[0].bias, 0.0)
    images = torch.randn(2, 3, 4, 4, requires_grad=True)
    (usual,) = torch.autograd.grad(-network(images).sum(), images)
    with RedirectedReLU():
        (redirected,) = torch.autograd.grad(-network(images).sum(), images)
    torch.testing.assert_close(redirected, usual)


@pytest.mark.parametrize("name", ["mobilenet_v2", "googlenet"])
def test_it_renders_networks_with_other_relus(name: str) -> None:
    arguments = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    network = import_torchvision().models.get_model(name, weights=None, **arguments).eval().requires_grad_(False)
    layer = {"mobilenet_v2": "features.3", "googlenet": "inception3a"}[name]
    recipe = Recipe(size=64, steps=3)
    imagenet = Preprocessing(64, 64, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    state = advance(network, layer, [Channel(0)], recipe, start(recipe, 1), preprocessing=imagenet)
    assert torch.isfinite(state.spectrum).all()
    assert (pictures(state) != pictures(start(recipe, 1))).any()
