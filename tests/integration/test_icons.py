"""Icons by request: which recipe, how many facets, which neuron; and what is refused."""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import striate
from conftest import answer, settings
from striate.cli import main
from striate.show.sheets import contact_sheet
from striate_service.config import EMBEDDED
from striate_service.explain.icons import RecipeChoice
from striate_service.explain.prerendering import chosen_layers
from striate_service.local import LocalServer
from striate_service.models.loading import load_model
from striate_service.techniques.recipe import SOFT, Fourier, Maco

LAYER = "mixed3a"


def rendered(client: striate.Client, **options: object) -> striate.Neuron:
    (neuron,) = [n for update in client.render_icons(LAYER, channels=[7], **options) for n in update.neurons]
    return neuron


def test_a_request_chooses_its_recipe(client: striate.Client, photo: np.ndarray) -> None:
    usual, maco = rendered(client), rendered(client, recipe="maco")
    assert (usual.icon.mode, maco.icon.mode) == ("RGB", "RGBA")
    assert rendered(client, recipe="fourier").icon_file.data != usual.icon_file.data
    assert rendered(client, recipe="soft").icon_file.data == usual.icon_file.data
    words = client.semantic_dictionary(photo, LAYER, neurons=1, positions=[(8, 8)], recipe="maco").wait_for_icons()
    assert words.at(8, 8)[0].icon.mode == "RGBA"
    for ask in (
        lambda: rendered(client, recipe="oils"),
        lambda: client.semantic_dictionary(photo, LAYER, recipe="oils"),
        lambda: client.factorize(photo, LAYER, recipe="oils"),
        lambda: client.factorize_layers(photo, [LAYER, "mixed4a"], recipe="oils"),
    ):
        with pytest.raises(striate.InvalidArgument, match="'fourier' or 'soft' or 'maco'") as refused:
            ask()
        assert "recipe" in refused.value.violations


def test_an_operator_chooses_the_recipe_of_a_model(tmp_path: Path) -> None:
    pets = {"name": "pets", "architecture": "resnet18", "weights": "pets.pth", "recipe": "fourier"}
    cars = {"name": "cars", "architecture": "resnet18", "weights": "cars.pth"}
    choice = RecipeChoice.of(settings(tmp_path, models=["parts", pets, cars], recipe="maco"))
    parts = load_model(EMBEDDED).description
    assert choice.choose("", parts) == SOFT, "the embedded model keeps the one that its icons ship by"
    assert choice.choose("", replace(parts, name="cars")) == Maco()
    assert choice.choose("", replace(parts, name="pets")) == Fourier()
    assert choice.choose("maco", replace(parts, name="pets")) == Maco()


def test_an_operator_chooses_layers_whose_icons_are_rendered_ahead(tmp_path: Path) -> None:
    models = [load_model(EMBEDDED).description]

    def chosen(*names: str) -> list[str]:
        (served,) = settings(tmp_path, models=[EMBEDDED.model_dump() | {"prerender": names}]).models
        return [each.layer.path for each in chosen_layers([served], models)]

    assert chosen("mixed4d", "conv2") == ["mixed4d", "conv2"]
    assert chosen() == []
    with pytest.raises(ValueError, match="prerender: parts has no layer 'mixed4z'"):
        chosen("mixed4z")


def test_facets_are_pictures_of_their_own_and_lie_side_by_side(client: striate.Client) -> None:
    updates = list(client.render_icons(LAYER, channels=[7], facets=2))
    assert (updates[-1].completed, updates[-1].total) == (2, 2)
    (neuron,) = [neuron for update in updates for neuron in update.neurons]
    first, second = (facet.tobytes() for facet in neuron.facets)
    assert len({first, second, rendered(client).icon.tobytes()}) == 3, "one alone is another picture"
    sheet = np.asarray(contact_sheet([neuron]))
    facets = np.concatenate([np.asarray(facet) for facet in neuron.facets], axis=1)
    np.testing.assert_array_equal(sheet[: len(facets)], facets)  # below it stands the channel's number
    with pytest.raises(striate.InvalidArgument) as many:
        rendered(client, facets=9)
    assert "facets" in many.value.violations


async def test_what_was_left_is_taken_back(
    either: Any, server: LocalServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave() -> None:
        with striate.Client(server.target) as client:
            next(client.render_icons("mixed4d", recipe="maco", facets=2, detach=True))

    leave()
    assert await answer(either.cancel_icons("mixed4c")) == 0
    assert await answer(either.cancel_icons("mixed4d")) > 0
    assert await answer(either.cancel_icons()) == 0
    leave()
    with pytest.raises(striate.NotFound, match="no layer 'mixed4z'"):
        await answer(either.cancel_icons("mixed4z"))
    command = ["striate", "render", "--cancel", "-l", "mixed4d", "--server", server.target]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(main)
    assert not ended.value.code
    assert re.match(r"[1-9]\d* icons of mixed4d were still to be rendered", capsys.readouterr().out)
    assert await answer(either.cancel_icons()) == 0
    monkeypatch.setattr(sys, "argv", [*command, "--detach"])
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(main)
    assert ended.value.code == 2


def test_a_neuron_is_pictured_at_its_position(client: striate.Client) -> None:
    layer = next(layer for layer in client.models()[0].layers if layer.name == LAYER)
    _, height, width = layer.shape
    middle = rendered(client, objective="neuron")
    assert rendered(client, objective="neuron", position=(height // 2, width // 2)).icon_file == middle.icon_file
    corner = rendered(client, objective="neuron", position=(2, 2))
    busy = np.asarray(corner.icon, float).std(axis=2)
    assert np.unravel_index(busy.argmax(), busy.shape) < (64, 64), "it lies where the neuron looks"
    for wrong, field in (
        ({"objective": "neuron", "position": (height, 0)}, "position.row"),
        ({"position": (0, 0)}, "position"),
    ):
        with pytest.raises(striate.InvalidArgument) as refused:
            rendered(client, **wrong)
        assert field in refused.value.violations


def test_a_contact_sheet_shows_transparent_parts_white(client: striate.Client) -> None:
    neuron = rendered(client, recipe="maco")
    picture = np.asarray(neuron.icon, float)
    opacity = picture[..., 3:] / 255
    expected = picture[..., :3] * opacity + 255 * (1 - opacity)
    sheet = np.asarray(contact_sheet([neuron]), float)
    np.testing.assert_allclose(sheet[: len(expected)], expected, atol=1.5)
