"""The blocking and the awaited client make the same calls: each test runs with both, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import numpy as np
import pytest
import striate
from conftest import answer
from striate import LabelledImage

LAYER = "mixed4a"


async def every(stream: Any) -> list[Any]:
    """Return all that a call yields, of a client of either kind."""
    return [each async for each in stream] if hasattr(stream, "__aiter__") else list(stream)


def given_to(client: Any, items: Iterable[Any]) -> Any:
    """Return items as a client of either kind takes a stream of them."""

    async def awaited() -> AsyncIterator[Any]:
        for item in items:
            yield item

    return awaited() if isinstance(client, striate.aio.Client) else items


async def test_models_are_told(either: Any) -> None:
    models = await answer(either.models())
    assert models[0] == await answer(either.model())
    assert models[0].name == "parts"


async def test_activations_are_the_same_alone_and_in_a_stream(either: Any, photos: list[np.ndarray]) -> None:
    alone = await answer(either.activations(photos[:2], [LAYER], reduce="max", classes=2))
    assert alone[LAYER].shape == (2, 160)
    assert [len(each) for each in alone.predictions] == [2, 2]
    keyed = [("first", photos[0]), ("broken", b"no image"), ("second", photos[1])]
    found = dict(await every(either.stream_activations(given_to(either, keyed), LAYER, reduce="max", classes=2)))
    assert isinstance(found["broken"], striate.InvalidArgument)
    for number, key in enumerate(("first", "second")):
        np.testing.assert_array_equal(found[key][LAYER][0], alone[LAYER][number])


async def test_a_position_has_its_strongest_neurons(either: Any, photo: np.ndarray) -> None:
    words = await answer(
        either.semantic_dictionary(photo, LAYER, neurons=3, classes=["dog"], positions=[(2, 3)], icons=False)
    )
    assert isinstance(words, striate.SemanticDictionary)
    assert [list(neuron.effects) for neuron in words.at(2, 3)] == [["dog"]] * 3
    assert '"kind":"dictionary"' in words.to_html()


async def test_groups_are_found_and_fed_by_those_of_another_layer(either: Any, photo: np.ndarray) -> None:
    groups = await answer(either.factorize(photo, LAYER, components=3, icons=False))
    assert isinstance(groups, striate.Factorization)
    assert groups.overlay(0).size == groups.images[0].size
    flows = await answer(either.factorize_layers(photo, [LAYER, "mixed4d"], components=3, icons=False))
    assert isinstance(flows, striate.FactorizedLayers)
    np.testing.assert_array_equal(flows.layers[0].directions, groups.directions)
    assert flows.flows[0].influence.shape == (1, 3, 3)


async def test_icons_are_rendered_with_progress(either: Any) -> None:
    progress = await every(either.render_icons(LAYER, channels=[0, 1]))
    assert progress[-1].completed == progress[-1].total == 2
    assert {neuron.channel for each in progress for neuron in each.neurons} == {0, 1}


async def test_groups_are_kept_built_and_removed(either: Any, photos: list[np.ndarray]) -> None:
    steps = await every(either.build_basis("both", [photos[0], b"no image", photos[1]], LAYER, components=2))
    assert steps[-1].basis.image_count == 2
    assert [which for step in steps for which, _ in step.skipped] == ["1"]
    try:
        assert "both" in [basis.name for basis in await answer(either.bases())]
        basis = await answer(either.basis("both", icons=False))
        found = await answer(either.factorize(photos[0], basis="both", icons=False))
        np.testing.assert_array_equal(found.directions, basis.directions)
    finally:
        await answer(either.delete_basis("both"))
    with pytest.raises(striate.NotFound):
        await answer(either.basis("both"))


async def test_images_are_indexed_and_their_examples_told(either: Any, photos: list[np.ndarray]) -> None:
    images = [LabelledImage(photo, "scene", f"{number}.jpg") for number, photo in enumerate(photos[:3])]
    progress = await every(either.index_examples(images, "mixed3a", examples=2))
    assert progress[-1].indexed == 3
    found = await answer(either.examples("mixed3a", [4, 5], examples=1))
    assert [len(each.examples) for each in found.channels.values()] == [1, 1]


async def test_neurons_are_named(either: Any) -> None:
    named = await answer(either.set_label("mixed4b", 7, "a name", author="ann"))
    assert (named.text, named.channel, named.author) == ("a name", 7, "ann")
    assert "a name" in [label.text for label in await answer(either.labels("mixed4b"))]
    await answer(either.delete_label("mixed4b", 7))
    assert "a name" not in [label.text for label in await answer(either.labels("mixed4b"))]


async def test_what_brings_no_answer_raises_the_same_errors(either: Any, photo: np.ndarray) -> None:
    with pytest.raises(striate.NotFound, match="nowhere"):
        await answer(either.activations(photo, "nowhere"))
    with pytest.raises(striate.PermissionDenied):
        await answer(either.load_model("more", "resnet18", "torchvision"))
    with pytest.raises(striate.PermissionDenied):
        await answer(either.unload_model("parts"))
    with pytest.raises(ValueError, match="fit is 'bent'; it should be one of crop, stretch, pad"):
        await answer(either.factorize(photo, LAYER, fit="bent"))
    with pytest.raises(TypeError, match="give one of them"):
        await answer(either.factorize())

    def broken() -> Any:
        yield LabelledImage(photo)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        await every(either.index_examples(broken(), "mixed3a"))
