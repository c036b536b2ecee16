"""The interactive pages in a real browser: what a person sees after pointing and clicking."""

from __future__ import annotations

import html
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import striate
from PIL import Image
from striate_service.models.embedded.pictures import draw

_BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(_BROWSER is None, reason="there is no Chromium here")

Browse = Callable[[str, str], Any]


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Open a page, run a script in it as a person's hands, and return what the script returns."""

    def run(page: str, script: str) -> Any:
        hands = f"<script>document.body.dataset.seen = JSON.stringify((() => {{ {script} }})())</script></body>"
        file = tmp_path / "page.html"
        file.write_text(page.replace("</body>", hands), encoding="utf-8")
        command = [
            str(_BROWSER),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
            *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
            f"--user-data-dir={tmp_path / 'profile'}",
            *("--virtual-time-budget=5000", "--dump-dom", file.as_uri()),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        seen = re.search(r'data-seen="([^"]*)"', done.stdout)
        assert seen, done.stderr[-2000:]
        return json.loads(html.unescape(seen[1]))

    return run


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return draw(5, "cat").image


def test_a_dictionarys_position_is_read_by_clicking_it(
    client: striate.Client, picture: np.ndarray, browse: Browse
) -> None:
    words = client.semantic_dictionary(picture, "mixed5b", wait_for_icons=False)
    seen = browse(
        words.to_html(),
        """
        document.querySelectorAll(".cell")[2 * 7 + 5].click();
        const text = (where) => [...document.querySelectorAll(where)].map((node) => node.textContent);
        return { names: text(".neuron .name"), effects: text(".neuron:nth-of-type(2) .effect .label"),
                 predictions: text("#predictions li span:first-child"),
                 chosen: document.querySelectorAll(".cell.chosen").length };
        """,
    )
    assert seen["names"] == [neuron.name for neuron in words.at(2, 5)]
    assert seen["effects"] == words.classes
    assert seen["chosen"] == 1
    assert seen["predictions"] == [name for name, _ in words.predictions]


def test_the_keyboard_moves_through_positions(client: striate.Client, picture: np.ndarray, browse: Browse) -> None:
    words = client.semantic_dictionary(picture, "mixed5b", wait_for_icons=False)
    seen = browse(
        words.to_html(),
        """
        document.querySelectorAll(".cell")[3 * 7 + 3].click();
        const press = (key) => document.querySelector(".grid").dispatchEvent(new KeyboardEvent("keydown", { key }));
        press("ArrowDown"); press("ArrowLeft");
        return [...document.querySelectorAll(".neuron .name")].map((node) => node.textContent);
        """,
    )
    assert seen == [neuron.name for neuron in words.at(4, 2)]


def test_pointing_at_a_group_shows_where_it_is(client: striate.Client, picture: np.ndarray, browse: Browse) -> None:
    groups = client.factorize(picture, "mixed5b", components=3, wait_for_icons=False)
    seen = browse(
        groups.to_html(),
        """
        const rows = document.querySelectorAll(".group[tabindex]");
        rows[1].dispatchEvent(new Event("mouseenter"));
        const canvas = document.querySelector("canvas");
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return { rows: rows.length, opacity: [...pixels].filter((_, index) => index % 4 === 3), hidden: canvas.hidden };
        """,
    )
    assert seen["rows"] == 3
    assert not seen["hidden"]
    presence = groups.spatial[0, :, :, 1]
    np.testing.assert_allclose(np.array(seen["opacity"]).reshape(7, 7) / 235, presence / presence.max(), atol=0.01)


def test_names_are_text_and_never_markup(client: striate.Client, picture: np.ndarray, browse: Browse) -> None:
    channel = int(client.semantic_dictionary(picture, "mixed5b", icons=False).channels[0, 0])
    hostile = "{{script}}</script><img src=x onerror=\"document.title='taken'\">"
    client.set_label("mixed5b", channel, hostile)
    try:
        page = client.semantic_dictionary(picture, "mixed5b", icons=False).to_html()
    finally:
        client.delete_label("mixed5b", channel)
    seen = browse(
        page,
        """
        document.querySelectorAll(".cell")[0].click();
        return { name: document.querySelector(".neuron .name").textContent, title: document.title };
        """,
    )
    assert seen["name"] == hostile
    assert "taken" not in seen["title"]


def test_natural_examples_stand_beside_the_icon(client: striate.Client, picture: np.ndarray, browse: Browse) -> None:
    images = [striate.LabelledImage(draw(number, "cat").image, "cat") for number in range(4)]
    list(client.index_examples(images, "mixed5b"))
    words = client.semantic_dictionary(picture, "mixed5b", icons=False, examples=3)
    seen = browse(
        words.to_html(),
        """
        document.querySelectorAll(".cell")[4 * 7 + 2].click();
        const rows = [...document.querySelectorAll(".neuron")];
        const images = rows.map((row) => [...row.querySelectorAll(".examples img")]);
        return { counts: images.map((row) => row.length), said: images[0].map((image) => image.title),
                 widths: images[0].map((image) => image.naturalWidth) };
        """,
    )
    neurons = words.at(4, 2)
    assert seen["counts"] == [len(neuron.examples) for neuron in neurons]
    assert seen["said"] == [f"cat: activation {each.activation:.4g}" for each in neurons[0].examples]
    assert set(seen["widths"]) <= {0, 96}, "0: not decoded yet"


def test_the_whole_layers_icons_take_the_pictures_place(
    client: striate.Client, picture: np.ndarray, browse: Browse
) -> None:
    words = client.semantic_dictionary(picture, "mixed5b", icons=False)
    drawn = io.BytesIO()
    Image.fromarray(picture).save(drawn, "WEBP")
    icons = [striate.results.Icon("ready", drawn.getvalue())] * 48 + [striate.results.Icon("queued")]
    seen = browse(
        replace(words, position_icons=icons).to_html(),
        """
        const cells = [...document.querySelectorAll(".cell")];
        const shown = () => cells.map((cell) => getComputedStyle(cell).backgroundImage);
        const before = shown();
        document.querySelector(".toggle").click();
        return { before: before.filter((image) => image !== "none").length,
                 after: shown().map((image) => image.startsWith('url("data:image/webp')) };
        """,
    )
    assert seen["before"] == 0
    assert seen["after"] == [True] * 48 + [False]


def test_a_groups_share_of_the_variation_and_the_choice_of_their_number_are_shown(
    client: striate.Client, picture: np.ndarray, browse: Browse
) -> None:
    groups = client.factorize(picture, "mixed5b", components=0, classes=2, sobol_points=4, icons=False)
    seen = browse(
        groups.to_html(),
        """
        const text = (where) => [...document.querySelectorAll(where)].map((node) => node.textContent);
        return { shares: text(".shares .number"), points: text(".choice circle title").length,
                 chosen: text(".choice circle.chosen title"), axis: text(".choice text.chosen") };
        """,
    )
    shares = [share for group in groups.groups for share in group.sobol_indices.values()]
    assert len(shares) == 2 * len(groups.groups)
    np.testing.assert_allclose([int(text.rstrip("%")) for text in seen["shares"]], np.multiply(shares, 100), atol=0.6)
    assert seen["points"] == len(groups.choices)
    chosen = groups.choices[len(groups.groups) - 1]
    assert seen["axis"] == [str(chosen.components)]
    assert seen["chosen"] == [f"{chosen.components} groups explain {chosen.explained_variance:.1%}"]


def test_nothing_stands_for_what_was_not_asked_for(client: striate.Client, picture: np.ndarray, browse: Browse) -> None:
    page = client.factorize(picture, "mixed5b", components=2, icons=False).to_html()
    assert browse(page, 'return document.querySelectorAll(".shares, .choice").length') == 0
