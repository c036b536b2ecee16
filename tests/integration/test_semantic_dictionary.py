"""Dictionaries: effects against autograd and finite differences, icons and names."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import striate
import torch
from conftest import preprocess
from PIL import Image
from striate_service.models.layers import capture

LAYER = "features.7"
BEFORE_POOL = "features.10"


@pytest.fixture(scope="module")
def dog_cat(shared: Path) -> np.ndarray:
    return np.asarray(Image.open(shared / "photos" / "dog_cat.jpeg").convert("RGB"))


@pytest.fixture
def dictionary(client: striate.Client, dog_cat: np.ndarray) -> striate.SemanticDictionary:
    return client.semantic_dictionary(dog_cat, LAYER, model="squeezenet", neurons=4, classes=3, icons=False)


def tail(network: torch.nn.Module, activations: torch.Tensor) -> torch.Tensor:
    """What squeezenet does after LAYER."""
    return torch.flatten(network.classifier(network.features[8:](activations)), 1)


def test_the_strongest_neurons_are_those_of_the_activations(
    dictionary: striate.SemanticDictionary, squeezenet: torch.nn.Module, dog_cat: np.ndarray
) -> None:
    with torch.no_grad():
        layer = squeezenet.features[:8](preprocess(dog_cat))[0]
    expected = layer.sort(dim=0, descending=True).values[:4].permute(1, 2, 0).reshape(-1, 4)
    np.testing.assert_allclose(dictionary.activations, expected, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(dictionary.magnitude, layer.norm(dim=0), rtol=1e-4)
    assert dictionary.predictions[0][0] == "golden retriever"
    assert [neuron.channel for neuron in dictionary.at(2, 3)] == dictionary.channels[2 * layer.shape[2] + 3].tolist()


def test_strong_neurons_before_a_max_pool_do_not_read_0_where_one_asks_for_it(
    client: striate.Client, dog_cat: np.ndarray
) -> None:
    """features.10 feeds squeezenet's last max pool, and nothing else."""
    usual, smooth = (
        client.semantic_dictionary(
            dog_cat, BEFORE_POOL, model="squeezenet", neurons=4, classes=3, icons=False, smooth_max_pool=asked
        )
        for asked in (False, True)
    )
    assert (usual.smooth_max_pool, smooth.smooth_max_pool) == (False, True)
    np.testing.assert_array_equal(usual.activations, smooth.activations)
    active = usual.activations > 0
    silent, spoken = ((each.effects == 0).all(2)[active].mean() for each in (usual, smooth))
    assert silent > 0.3
    assert spoken < silent / 4
    groups = client.factorize(
        dog_cat, BEFORE_POOL, model="squeezenet", components=3, classes=3, icons=False, smooth_max_pool=True
    )
    assert groups.smooth_max_pool
    with pytest.raises(striate.InvalidArgument) as refused:
        client.semantic_dictionary(
            dog_cat, BEFORE_POOL, model="squeezenet", attribution="integrated_gradients", smooth_max_pool=True
        )
    assert "smooth_max_pool" in refused.value.violations


def test_effects_are_gradient_times_activation(
    dictionary: striate.SemanticDictionary, client: striate.Client, squeezenet: torch.nn.Module, dog_cat: np.ndarray
) -> None:
    layer = squeezenet.features[:8](preprocess(dog_cat)).requires_grad_()
    logits = tail(squeezenet, layer)[0]
    names = list(client.model("squeezenet").classes)
    for m, name in enumerate(dictionary.classes):
        (gradient,) = torch.autograd.grad(logits[names.index(name)], layer, retain_graph=True)
        expected = (gradient * layer)[0].detach().numpy()
        rows, columns = dictionary.positions.T
        ours, theirs = dictionary.effects[:, :, m], expected[dictionary.channels, rows[:, None], columns[:, None]]
        # Rounding moves a few of the later ReLUs' inputs across 0, and with them single gradients, by little.
        assert np.linalg.norm(ours - theirs) < 1e-3 * np.linalg.norm(theirs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_effects_agree_with_finite_differences(
    dictionary: striate.SemanticDictionary, client: striate.Client, squeezenet: torch.nn.Module, dog_cat: np.ndarray
) -> None:
    squeezenet = squeezenet.double()
    layer = squeezenet.features[:8](preprocess(dog_cat).double())
    name = dictionary.classes[0]
    number = list(client.model("squeezenet").classes).index(name)
    strongest = np.argsort(-np.abs(dictionary.effects[:, 0, 0]))[:5]
    for place in strongest:
        row, column = dictionary.positions[place]
        neuron = dictionary.at(int(row), int(column))[0]
        more, less, step = layer.clone(), layer.clone(), 1e-4
        more[0, neuron.channel, row, column] += step
        less[0, neuron.channel, row, column] -= step
        with torch.no_grad():
            slope = (tail(squeezenet, more) - tail(squeezenet, less))[0, number] / (2 * step)
        assert neuron.effects[name] == pytest.approx(float(slope) * neuron.activation, rel=1e-2, abs=1e-3)


def test_chosen_positions_and_classes_come_in_their_order(client: striate.Client, photo: np.ndarray) -> None:
    found = client.semantic_dictionary(
        photo, "mixed4a", positions=[(5, 6), (0, 1)], classes=["cat", "car"], neurons=2, icons=False
    )
    assert found.positions.tolist() == [[5, 6], [0, 1]]
    assert found.classes == ["cat", "car"]
    assert found.effects.shape == (2, 2, 2)
    with pytest.raises(IndexError):
        found.at(3, 3)


def test_without_waiting_missing_icons_are_marked_and_later_there(client: striate.Client, photo: np.ndarray) -> None:
    ask = {"image": photo, "layer": "conv2", "positions": [(4, 4)], "neurons": 2, "classes": 1}
    first = client.semantic_dictionary(**ask, wait_for_icons=False)
    assert {neuron.icon_file.status for neuron in first.neurons.values()} == {"queued"}
    then = client.semantic_dictionary(**ask, wait_for_icons=True)
    for neuron in then.neurons.values():
        assert neuron.icon is not None
        assert neuron.icon.size == (128, 128)
        assert np.asarray(neuron.icon).std() > 10, "not a blank"
    again = client.semantic_dictionary(**ask, wait_for_icons=False)
    assert [n.icon_file.data for n in again.neurons.values()] == [n.icon_file.data for n in then.neurons.values()]


def test_an_icon_excites_its_neuron_more_than_photographs_do(
    client: striate.Client, squeezenet: torch.nn.Module, photos: list[np.ndarray], dog_cat: np.ndarray
) -> None:
    channels = [20, 75, 130]
    finished = [
        n for update in client.render_icons(LAYER, model="squeezenet", channels=channels) for n in update.neurons
    ]
    assert sorted(neuron.channel for neuron in finished) == channels
    inputs = torch.cat([preprocess(photo) for photo in [*photos, dog_cat]])
    natural = capture(squeezenet, inputs, [LAYER]).layers[LAYER].mean((2, 3))
    for neuron in finished:
        icon = np.asarray(Image.open(io.BytesIO(neuron.icon_file.data)))
        own = capture(squeezenet, preprocess(icon, 128, 128), [LAYER]).layers[LAYER].mean((2, 3))[0, neuron.channel]
        assert own > 2 * natural[:, neuron.channel].max()


def test_integrated_gradients_add_up_to_the_logits(client: striate.Client, photo: np.ndarray) -> None:
    layer = next(layer for layer in client.model().layers if layer.name == "conv2")
    ask = {"image": photo, "layer": "conv2", "neurons": layer.channels, "classes": 3, "icons": False}
    errors = {}
    for steps in (4, 128):
        found = client.semantic_dictionary(**ask, attribution="integrated_gradients", steps=steps)
        whole = np.array([found.logits[name] - found.baseline_logits[name] for name in found.classes])
        errors[steps] = np.abs(found.effects.sum((0, 1)) - whole) / np.abs(whole).max()
    assert errors[128].max() < 0.02
    assert errors[128].max() < errors[4].max()
    by_gradient = client.semantic_dictionary(**ask)
    assert by_gradient.logits == pytest.approx(found.logits, rel=1e-4)
    assert not by_gradient.baseline_logits
    assert np.abs(by_gradient.effects - found.effects).max() > 0.01, "another attribution"


def test_integrated_gradients_are_the_mean_of_gradients_on_the_path(
    client: striate.Client, squeezenet: torch.nn.Module, dog_cat: np.ndarray
) -> None:
    found = client.semantic_dictionary(
        dog_cat,
        LAYER,
        model="squeezenet",
        neurons=4,
        classes=1,
        icons=False,
        attribution="integrated_gradients",
        steps=4,
    )
    layer = squeezenet.features[:8](preprocess(dog_cat)).detach()
    number = list(client.model("squeezenet").classes).index(found.classes[0])
    mean = torch.zeros_like(layer)
    for root in (0.125, 0.375, 0.625, 0.875):  # midpoints of the fourth root of the share of the path
        point = (root**4 * layer).requires_grad_()
        mean += torch.autograd.grad(tail(squeezenet, point)[0, number], point)[0] * 4 * root**3 / 4
    rows, columns = found.positions.T
    theirs = (mean * layer)[0].numpy()[found.channels, rows[:, None], columns[:, None]]
    assert np.linalg.norm(found.effects[..., 0] - theirs) < 2e-3 * np.linalg.norm(theirs)
    zero = tail(squeezenet, torch.zeros_like(layer))[0, number]
    assert found.baseline_logits[found.classes[0]] == pytest.approx(float(zero), rel=1e-3)


def test_without_attribution_there_are_no_effects(client: striate.Client, photo: np.ndarray) -> None:
    with_effects = client.semantic_dictionary(photo, "mixed4a", neurons=3, icons=False)
    found = client.semantic_dictionary(photo, "mixed4a", neurons=3, icons=False, attribution="none")
    assert found.effects.shape[2] == 0
    assert not found.logits
    assert found.predictions[0][0] == with_effects.predictions[0][0]
    np.testing.assert_allclose(found.activations, with_effects.activations, rtol=1e-3, atol=1e-4)


def test_a_position_has_an_icon_of_all_that_the_layer_sees_there(client: striate.Client, photo: np.ndarray) -> None:
    ask = {"image": photo, "layer": "conv2", "positions": [(4, 4), (20, 9)], "neurons": 1, "classes": 0}
    queued = client.semantic_dictionary(**ask, position_icons=True, wait_for_icons=False)
    assert [icon.status for icon in queued.position_icons] == ["queued", "queued"]
    found = client.semantic_dictionary(**ask, position_icons=True, wait_for_icons=True)
    for row, column in ask["positions"]:
        assert found.icon_at(row, column).size == (128, 128)
        assert np.asarray(found.icon_at(row, column)).std() > 10, "not a blank"
    assert found.position_icons[0].data != found.position_icons[1].data
    again = client.semantic_dictionary(**ask, position_icons=True, wait_for_icons=False, attribution="none")
    assert again.position_icons == found.position_icons, "from the store, whatever computed the activations"
    assert client.semantic_dictionary(**ask, icons=False).position_icons == []


def test_wrong_options_are_named(client: striate.Client, photo: np.ndarray) -> None:
    with pytest.raises(striate.InvalidArgument) as many:
        client.semantic_dictionary(photo, "conv2", position_icons=True)
    assert "position_icons" in many.value.violations
    with pytest.raises(striate.InvalidArgument) as steps:
        client.semantic_dictionary(photo, "conv2", attribution="integrated_gradients", steps=1000)
    assert "steps" in steps.value.violations
    with pytest.raises(ValueError, match="integrated_gradients"):
        client.semantic_dictionary(photo, "conv2", attribution="saliency")


def test_a_signed_layer_shows_neurons_of_both_directions(client: striate.Client, photo: np.ndarray) -> None:
    layer = client.activations(photo, "mixed4a.one.bn")["mixed4a.one.bn"][0]
    values = layer[:, 5, 6]
    strongest = np.argsort(-np.abs(values), kind="stable")
    lowest = int(np.flatnonzero(values[strongest] < 0)[0])  # the rank of the first that is negative
    found = client.semantic_dictionary(photo, "mixed4a.one.bn", positions=[(5, 6)], neurons=lowest + 1, classes=1)
    found.wait_for_icons()
    neurons = found.at(5, 6)
    assert [neuron.channel for neuron in neurons] == strongest[: lowest + 1].tolist()
    np.testing.assert_allclose(found.activations[0], values[strongest[: lowest + 1]], rtol=1e-3)
    assert [neuron.sign for neuron in neurons] == [1] * lowest + [-1]
    silenced = neurons[-1]
    assert silenced.name.startswith("- ")
    assert silenced.icon is not None
    (finished,) = [
        neuron
        for update in client.render_icons("mixed4a.one.bn", channels=[silenced.channel])
        for neuron in update.neurons
    ]
    assert finished.icon is not None
    assert np.abs(np.asarray(finished.icon, int) - np.asarray(silenced.icon, int)).mean() > 20, "another picture"
    responses = [
        client.activations(np.asarray(icon.convert("RGB")), "mixed4a.one.bn")["mixed4a.one.bn"][0, silenced.channel]
        for icon in (silenced.icon, finished.icon)
    ]
    assert responses[0].mean() < values[silenced.channel] / 2 < 0 < responses[1].mean()
    assert f"- {neurons[-1].label.text}" in silenced.name or silenced.name == f"- channel {silenced.channel}"
    by_activation = client.semantic_dictionary(
        photo, "mixed4a.one.bn", positions=[(5, 6)], neurons=2, classes=0, order="activation", icons=False
    )
    assert by_activation.channels[0].tolist() == np.argsort(-values, kind="stable")[:2].tolist()
