"""Icons excite what they are icons of, the same each time, however their rendering is cut into slices."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from striate_service.config import EMBEDDED, RecipeName
from striate_service.models.description import Preprocessing
from striate_service.models.layers import capture
from striate_service.models.loading import LoadedModel, load_model
from striate_service.models.torchvision_compat import import_torchvision
from striate_service.techniques.feature_visualization import RedirectedReLU, State, advance, pictures, start
from striate_service.techniques.feature_visualization.parameterization import image
from striate_service.techniques.objective import Channel, Direction, Facets, Neuron, Objective
from striate_service.techniques.recipe import RECIPES, SOFT, Fourier, Maco, Recipe

LAYER = "mixed4a"
SHORT = Fourier(size=64, steps=24)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(EMBEDDED)


def render(model: LoadedModel, objectives: Sequence[Objective], recipe: Recipe = SHORT, stop: int = 0) -> State:
    """Render, in slices of `stop` steps where it is not 0, each from plain arrays as if in a process of its own."""
    state = start(recipe, objectives)
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
    icons = pictures(render(model, [Channel(channel) for channel in channels]), SHORT).permute(0, 3, 1, 2) / 255
    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in (model.description.preprocessing.mean, model.description.preprocessing.std)
    )
    maps = capture(model.network, (icons - mean) / std, [LAYER]).layers[LAYER]
    excitation = maps.mean((2, 3))[:, channels]  # [icon, channel]
    np.testing.assert_array_equal(excitation.argmax(0), range(len(channels)))


@pytest.mark.parametrize("recipe", [Fourier(size=64, steps=12), Maco(size=64, steps=12)])
def test_slices_make_no_difference(model: LoadedModel, recipe: Recipe) -> None:
    objectives = [Channel(3), Facets(Channel(40), 2)]
    whole, sliced = render(model, objectives, recipe), render(model, objectives, recipe, stop=5)
    torch.testing.assert_close(pictures(whole, recipe), pictures(sliced, recipe), rtol=0, atol=0)


def test_company_makes_no_difference(model: LoadedModel) -> None:
    alone = pictures(render(model, [Channel(40)]), SHORT)[0].int()
    direction = Direction(tuple(np.random.default_rng(0).random(160).tolist()))
    among = pictures(render(model, [Channel(3), Channel(40), direction]), SHORT)[1].int()
    assert (alone - among).abs().float().mean() < 1, "of 255: sums in another order differ in the last bit"


def test_a_direction_along_one_channel_excites_it(model: LoadedModel) -> None:
    along = [0.0] * 160
    along[40] = 1.0
    icons = pictures(render(model, [Direction(tuple(along)), Channel(3)]), SHORT).permute(0, 3, 1, 2) / 255
    maps = capture(model.network, (icons - 0.5) / 0.25, [LAYER]).layers[LAYER]
    excitation = maps.mean((2, 3))[:, 40]
    assert excitation[0] > 1.5 * excitation[1]


def test_the_cosine_keeps_other_channels_quiet(model: LoadedModel) -> None:
    channels = [3, 40, 77, 150]

    def purity(recipe: Recipe) -> torch.Tensor:
        maps = maps_of(model, pictures(render(model, [Channel(channel) for channel in channels], recipe), recipe))
        means = maps.mean((2, 3))
        return means[range(len(channels)), channels] / means.norm(dim=1)

    gain = purity(SHORT) / purity(replace(SHORT, cosine_power=0.0))
    assert gain.min() > 1
    assert gain.mean() > 1.05


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


@pytest.mark.parametrize(
    "activation", [torch.nn.GELU(), torch.nn.SiLU(inplace=True), torch.nn.Hardswish(), torch.nn.ReLU6(inplace=True)]
)
def test_no_activation_function_leads_away_from_what_excites_a_neuron(activation: torch.nn.Module) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Dropout(), activation)
    network[0].bias = torch.nn.Parameter(torch.full((4,), -2.5))  # at the start every neuron is below 0
    network.eval().requires_grad_(False)
    grey = Preprocessing(32, 32, "bilinear", (0.5,) * 3, (0.25,) * 3)
    recipe, shown = Fourier(size=32, steps=40), [Channel(channel) for channel in range(4)]
    first = start(recipe, shown)
    state = advance(network, "2", shown, recipe, first, preprocessing=grey)

    def before_activation(state: State) -> torch.Tensor:
        seen = pictures(state, recipe).permute(0, 3, 1, 2) / 255
        return network[:2]((seen - 0.5) / 0.25)[range(4), range(4)].mean((1, 2))

    assert (before_activation(state) > before_activation(first) + 0.2).all(), "each neuron's input rises"
    assert pictures(state, recipe).float().flatten(1).std(1).min() > 5, "no blank"


@pytest.mark.parametrize("name", ["mobilenet_v2", "googlenet"])
def test_it_renders_networks_with_other_relus(name: str) -> None:
    arguments = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    network = import_torchvision().models.get_model(name, weights=None, **arguments).eval().requires_grad_(False)
    layer = {"mobilenet_v2": "features.3", "googlenet": "inception3a"}[name]
    recipe = Fourier(size=64, steps=3)
    imagenet = Preprocessing(64, 64, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    state = advance(network, layer, [Channel(0)], recipe, start(recipe, [Channel(0)]), preprocessing=imagenet)
    assert torch.isfinite(state.parameters).all()
    assert (pictures(state, recipe) != pictures(start(recipe, [Channel(0)]), recipe)).any()


def maps_of(model: LoadedModel, icons: torch.Tensor) -> torch.Tensor:
    """Return what LAYER computes for finished icons, uint8 [B, S, S, 3 or 4], by a plain hook on the whole network."""
    side, preprocessing = model.description.preprocessing.crop, model.description.preprocessing
    images = torch.nn.functional.interpolate(icons[..., :3].permute(0, 3, 1, 2) / 255, size=(side, side))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    found: list[torch.Tensor] = []
    hook = model.network.get_submodule(LAYER).register_forward_hook(lambda _m, _i, output: found.append(output.clone()))
    with torch.no_grad():
        model.network((images - mean) / std)
    hook.remove()
    return found[0]


def test_the_recipe_that_shipped_icons_were_made_by_keeps_its_name() -> None:
    assert SOFT.text == (
        "name=soft,version=3,size=128,steps=48,learning_rate=0.2,jitter=6.0,scale=0.1,rotation=10.0,"
        "cosine_power=1.0,seed=0"
    )
    assert tuple(RECIPES) == get_args(RecipeName), "what operators can set is what there is"


@pytest.mark.parametrize("recipe", [SHORT, replace(SHORT, learning_rate=3.0)])
def test_contrast_is_not_clipped_however_far_the_optimizer_goes(model: LoadedModel, recipe: Fourier) -> None:
    icons = pictures(render(model, [Channel(3), Channel(40)], recipe), recipe)
    clipped = ((icons == 0) | (icons == 255)).any(3).float().mean((1, 2))
    assert (clipped < 0.02).all()
    limitless = replace(recipe, contrast=None)
    strong = pictures(render(model, [Channel(3), Channel(40)], limitless), limitless)
    assert (strong.float().std((1, 2, 3)) > icons.float().std((1, 2, 3))).all()


@pytest.mark.parametrize("recipe", [SHORT, replace(SHORT, contrast=None), Maco(size=64, steps=24)])
def test_an_unfinished_picture_has_the_contrast_of_a_finished_one(model: LoadedModel, recipe: Recipe) -> None:
    objectives = [Channel(3), Channel(40)]
    half = advance(
        model.network,
        LAYER,
        objectives,
        recipe,
        start(recipe, objectives),
        preprocessing=model.description.preprocessing,
        last=6,
    )
    assert half.step == 6
    quick = pictures(half, recipe)
    assert (quick[..., :3].float().std((1, 2, 3)) > 35).all()
    maps = maps_of(model, quick).mean((2, 3))
    assert maps[0, 3] > maps[1, 3]
    assert maps[1, 40] > maps[0, 40]


def test_a_neurons_icon_excites_it_at_its_position(model: LoadedModel) -> None:
    row, column = 3, 9
    icons = pictures(render(model, [Neuron(40, row, column), Neuron(40, 9, 3), Channel(3)]), SHORT)
    own, elsewhere, other = maps_of(model, icons)[:, 40]
    assert own[row, column] > 2 * elsewhere[row, column].clamp(min=0)
    assert own[row, column] > 2 * other[row, column].clamp(min=0)
    top, left = divmod(int(own.argmax()), own.shape[1])
    assert max(abs(top - row), abs(left - column)) <= 1, "nothing excites the channel elsewhere as much"


def test_maco_keeps_the_magnitudes_of_natural_images(model: LoadedModel) -> None:
    recipe = Maco(size=64, steps=6)
    before = image(start(recipe, [Channel(40)]).parameters, recipe)[0]
    after = image(render(model, [Channel(40)], recipe).parameters, recipe)[0]
    assert (before - after).abs().mean() > 0.02, "the phases have changed"
    logits = np.log(after.double().numpy() / (1 - after.double().numpy()))
    assert logits.std() == pytest.approx(recipe.contrast, rel=0.05)
    covariance_root = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])  # Lucid's color.py
    decorrelated = np.einsum("dc,chw->dhw", np.linalg.inv(covariance_root), logits)
    magnitude = np.abs(np.fft.fft2(decorrelated))
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None, :])
    inside = frequency > 0
    whitened = magnitude[:, inside] * frequency[inside] ** recipe.slope
    np.testing.assert_allclose(whitened, whitened.mean(), rtol=1e-3)
    np.testing.assert_allclose(magnitude[:, ~inside], 0, atol=1e-3 * magnitude.max())


def test_maco_excites_the_channel_and_shows_what_matters(model: LoadedModel) -> None:
    recipe = Maco(size=64, steps=40)
    icons = pictures(render(model, [Channel(40), Channel(3)], recipe), recipe)
    excitation = maps_of(model, icons).mean((2, 3))
    assert excitation[0, 40] > 2 * excitation[1, 40]
    assert excitation[1, 3] > 2 * excitation[0, 3]
    alpha = icons[..., 3] / 255.0
    assert (alpha.amin((1, 2)) == 0).all()
    assert ((alpha == 1).float().mean((1, 2)) > 0.15).all()
    grey = icons.clone()
    for opaque in (True, False):
        hidden = (alpha > 0.5) != opaque
        shown = torch.where(hidden[..., None], torch.tensor(128, dtype=torch.uint8), grey[..., :3])
        kept = maps_of(model, shown).mean((2, 3))[0, 40]
        share = float((~hidden[0]).float().mean())
        assert (kept / excitation[0, 40] > share) == opaque, "opaque pixels matter more than others"


@pytest.mark.parametrize("channel", [18, 40, 100])
def test_facets_differ_more_than_seeds_and_each_excites_the_channel(model: LoadedModel, channel: int) -> None:
    recipe = Fourier(size=64)
    one = [render(model, [Channel(channel)], replace(recipe, seed=seed)) for seed in range(3)]
    seeds = torch.cat([pictures(state, recipe) for state in one])
    facets = pictures(render(model, [Facets(Channel(channel), 3)], recipe), recipe)

    def likeness(icons: torch.Tensor) -> float:
        maps = maps_of(model, icons).flatten(2)
        grams = torch.nn.functional.normalize((maps @ maps.mT).flatten(1), dim=1)
        return float(((grams @ grams.T).sum() - 3) / 6)

    assert 1 - likeness(facets) > 5 * (1 - likeness(seeds))
    excitation = [maps_of(model, icons).mean((2, 3))[:, channel] for icons in (facets, seeds)]
    assert excitation[0].min() > 0.5 * excitation[1].max()


def test_a_sum_excites_each_of_its_terms(model: LoadedModel) -> None:
    shown = [Channel(3) + Channel(40), Channel(3), Channel(40), Channel(40) - Channel(3)]
    both, one, other, apart = maps_of(model, pictures(render(model, shown), SHORT)).mean((2, 3))[:, [3, 40]]
    assert both[0] > 2 * other[0]
    assert both[1] > 2 * one[1]
    assert apart[0] < other[0], "silencing a channel leaves less of it than not minding it"
    assert apart[1] > 2 * one[1]


def test_a_negative_weight_silences_what_a_grey_image_excites(model: LoadedModel) -> None:
    grey = torch.full((1, 64, 64, 3), 128, dtype=torch.uint8)
    at_rest = maps_of(model, grey).mean((2, 3))[0]
    channel = int(at_rest.argmax())
    silenced = maps_of(model, pictures(render(model, [-1 * Channel(channel)]), SHORT)).mean((2, 3))[0]
    assert silenced[channel] < 0.5 * at_rest[channel]
