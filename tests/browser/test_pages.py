"""The interactive pages in a real browser: what a person sees after pointing, tapping and pressing keys."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import striate
from chromium import DESKTOP, EXECUTABLE, PHONE, Browser
from PIL import Image
from striate_service.local import LocalServer
from striate_service.models.embedded.pictures import draw

AXE = Path(__file__).resolve().parents[2] / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="there is no Chromium here")

Show = Callable[..., Browser]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Show:
    """Open a page, in a window of a size, in dark colors or not."""

    def opened(page: str, size: tuple[int, int] = DESKTOP, *, dark: bool = False) -> Browser:
        file = tmp_path / "page.html"
        file.write_text(page, encoding="utf-8")
        browser.show(size, dark=dark)
        browser.open(file)
        return browser

    return opened


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return draw(5, "cat").image


@pytest.fixture(scope="module")
def asked(server: LocalServer) -> Iterator[striate.Client]:
    with striate.Client(server.target, timeout=120) as connected:
        yield connected


@pytest.fixture(scope="module")
def words(asked: striate.Client, picture: np.ndarray) -> striate.SemanticDictionary:
    return asked.semantic_dictionary(picture, "mixed5b")


@pytest.fixture(scope="module")
def groups(asked: striate.Client, picture: np.ndarray) -> striate.Factorization:
    return asked.factorize(picture, "mixed5b", components=3)


@pytest.fixture(scope="module")
def together(
    asked: striate.Client, picture: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> striate.Factorization:
    """Two files, factorized into fewer groups than they need."""
    files = [tmp_path_factory.mktemp("files") / name for name in ("cat.png", "house.png")]
    for file, image in zip(files, (picture, draw(3, "house").image), strict=True):
        Image.fromarray(image).save(file)
    return asked.factorize(files, "mixed4a", components=1, icons=False)


def drawn_icon(picture: np.ndarray) -> striate.results.Icon:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP")
    return striate.results.Icon("ready", file.getvalue())


def test_a_dictionarys_position_is_read_by_clicking_it(words: striate.SemanticDictionary, show: Show) -> None:
    seen = show(words.to_html())
    seen.click(".cell", 2 * 7 + 5)
    names = [neuron.name for neuron in words.at(2, 5)]
    assert seen.texts(".neuron .name") == names
    assert seen.texts(".neuron:nth-of-type(2) .effect .label") == words.classes
    assert seen.texts("#predictions li span:first-child") == [name for name, _ in words.predictions]
    seen.point(".cell", 0)
    assert seen.texts(".neuron .name") == names, "a click holds it"
    assert seen.run("document.querySelectorAll('.cell.chosen').length") == 1
    seen.click(".cell", 3)
    assert seen.texts(".neuron .name") == [neuron.name for neuron in words.at(0, 3)]


def test_the_keyboard_moves_through_positions(words: striate.SemanticDictionary, show: Show) -> None:
    seen = show(words.to_html())
    row, column = np.unravel_index(words.magnitude.argmax(), words.magnitude.shape)
    seen.press("Tab")
    assert seen.run("document.activeElement.className") == "grid"
    for key in ("ArrowUp", "ArrowUp", "ArrowLeft"):
        seen.press(key)
    expected = max(0, int(row) - 2), max(0, int(column) - 1)
    assert seen.texts(".neuron .name") == [neuron.name for neuron in words.at(*expected)]


def test_pointing_at_a_group_shows_where_it_is(groups: striate.Factorization, show: Show) -> None:
    seen = show(groups.to_html())
    shown = """(() => {
        const canvas = document.querySelector("canvas");
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return canvas.hidden ? [] : [...pixels].filter((_, index) => index % 4 === 3);
    })()"""
    assert seen.run(shown) == []
    seen.point(".group", 1)
    presence = groups.spatial[0, :, :, 1]
    np.testing.assert_allclose(np.reshape(seen.run(shown), (7, 7)) / 235, presence / presence.max(), atol=0.01)
    seen.point("h1")
    assert seen.run(shown) == []
    seen.press("Tab")
    assert seen.texts(".group.chosen .name") == [groups.groups[0].name], "the keyboard does what the mouse does"
    seen.press("Enter")
    seen.press("Tab")
    assert seen.texts(".group.chosen .name") == [groups.groups[1].name]
    assert seen.texts(".group button[aria-pressed=true]") == [groups.groups[0].name], "it is held"


def test_a_phone_shows_the_picture_while_groups_are_tapped(groups: striate.Factorization, show: Show) -> None:
    seen = show(groups.to_html(), PHONE)
    seen.tap(".group .name", 2)
    seen.until("!document.querySelector('canvas').hidden")
    assert seen.texts(".group.chosen .name") == [groups.groups[2].name]
    top, bottom, left, right, width = seen.run(
        """(() => {
            const box = document.querySelector(".picture").getBoundingClientRect();
            return [box.top, box.bottom, box.left, box.right, document.documentElement.scrollWidth];
        })()"""
    )
    assert seen.run("scrollY") > 200, "the rows stand below the picture"
    assert top >= 0
    assert bottom < PHONE[1] / 2
    assert left >= 0
    assert right <= width == PHONE[0], "nothing is cut off"
    seen.tap(".group .name", 2)
    seen.until("document.querySelector('canvas').hidden")


def test_thumbnails_switch_the_picture_with_its_name_and_predictions(
    together: striate.Factorization, show: Show
) -> None:
    seen = show(together.to_html())
    assert seen.run("document.title") == "cat.png and 1 more · Striate"
    for number, name in ((0, "cat.png"), (1, "house.png")):
        seen.click(".thumbs button", number)
        assert seen.texts(".image h3") == [name]
        assert seen.texts(".image li span:first-child") == [each for each, _ in together.predictions[number]]
        first, probability = together.predictions[number][0]
        then = together.fidelity[number].probabilities[0]
        told = " ".join(seen.texts(".group:last-child .small"))
        assert f"{first} {probability:.0%} becomes {then:.0%}" in told
    assert seen.texts(".more") == ["More is left out than explained: 2 groups would explain more."]


def test_shares_and_what_is_left_out_are_a_hundred_percent(groups: striate.Factorization, show: Show) -> None:
    texts = show(groups.to_html()).texts(".group .small:nth-child(2)")
    shares = [int(text.split("%")[0]) for text in texts]
    assert len(shares) == 4
    assert sum(shares) == 100
    np.testing.assert_allclose(shares, [*100 * groups.shares, 100 * groups.left_out], atol=1)


def test_what_is_not_rendered_is_shown_in_the_picture(
    words: striate.SemanticDictionary, groups: striate.Factorization, show: Show
) -> None:
    queued = striate.results.Icon("queued")
    neurons = {channel: replace(neuron, icon_file=queued) for channel, neuron in words.neurons.items()}
    waiting = replace(groups, groups=[replace(group, icon_file=queued) for group in groups.groups])
    seen = show(striate.show.page("a cat", [waiting, replace(words, neurons=neurons)]))
    seen.click(".cell", 0)
    crops = seen.run("[...document.querySelectorAll('.neuron .crop')].map((crop) => crop.style.backgroundPosition)")
    first = words.channels[0, 0]
    index, _ = max(np.argwhere(words.channels == first), key=lambda place: words.activations[tuple(place)])
    row, column = words.positions[index]
    assert len(crops) == words.channels.shape[1]
    across, down = (float(share.rstrip("%")) for share in crops[0].split())
    assert abs(across - 100 * column / 6) < 15
    assert abs(down - 100 * row / 6) < 15
    assert len(seen.texts(".group .waiting")) == 3
    seen.until("[...document.querySelectorAll('.group .waiting img')].every((crop) => crop.naturalWidth > 0)")


def test_a_page_is_completed_while_it_is_open(
    words: striate.SemanticDictionary,
    groups: striate.Factorization,
    picture: np.ndarray,
    browser: Browser,
    tmp_path: Path,
) -> None:
    def results(icon: striate.results.Icon) -> list[striate.Factorization | striate.SemanticDictionary]:
        return [replace(groups, groups=[replace(group, icon_file=icon) for group in groups.groups]), words]

    file = tmp_path / "page.html"
    striate.show.page("a cat", results(striate.results.Icon("queued")), file, being_rendered=3)
    browser.show()
    browser.open(file)
    browser.click(".cell", 4 * 7 + 2)
    browser.click(".group .name", 1)
    browser.press("Tab")
    browser.run("scrollTo(0, 150)")
    assert len(browser.texts(".group .waiting")) == 3
    striate.show.page("a cat", results(drawn_icon(picture)), file)
    browser.until("document.querySelectorAll('.group .icon:not(.waiting) > img').length === 3")
    assert browser.texts(".group button[aria-pressed=true]") == [groups.groups[1].name]
    assert browser.texts(".neuron .name") == [neuron.name for neuron in words.at(4, 2)]
    assert browser.run("document.activeElement.textContent") == groups.groups[2].name
    browser.until("Math.abs(scrollY - 150) < 2")
    assert browser.run("document.querySelector('[data-written]')") is None, "it is not loaded again"


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not here; npm ci installs it")
@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (DESKTOP, True), (PHONE, False)])
def test_axe_finds_nothing_serious(
    size: tuple[int, int],
    dark: bool,
    asked: striate.Client,
    picture: np.ndarray,
    words: striate.SemanticDictionary,
    together: striate.Factorization,
    show: Show,
) -> None:
    flows = asked.factorize_layers(picture, ["mixed4a", "mixed5b"], components=2, icons=False)
    seen = show(striate.show.page("a cat", [flows, words, together], being_rendered=1), size, dark=dark)
    seen.run(AXE.read_text() + "; 0")
    found = seen.run(
        """axe.run().then(({ passes, violations }) => ({
            passed: passes.map(({ id }) => id),
            violations: violations.map(({ impact, id, nodes }) => [impact, id, nodes[0].html.slice(0, 200)]),
        }))"""
    )
    assert {"color-contrast", "button-name", "image-alt", "list"} <= set(found["passed"])
    assert [each for each in found["violations"] if each[0] in ("serious", "critical")] == []
    assert seen.run("getComputedStyle(document.body).backgroundColor") == (
        "rgb(18, 20, 24)" if dark else "rgb(246, 247, 249)"
    )


def test_flows_use_the_width_and_do_not_run_through_names(
    asked: striate.Client, picture: np.ndarray, show: Show
) -> None:
    flows = asked.factorize_layers(picture, ["mixed4a", "mixed5b"], components=2, icons=False)
    seen = show(flows.to_html())
    names, lines, width = seen.run(
        """(() => {
            const sides = (node) => { const box = node.getBoundingClientRect(); return [box.left, box.right]; };
            const all = (where) => [...document.querySelectorAll(where)].map(sides);
            return [all(".node .name"), all(".flows svg"), all(".flows")[0]];
        })()"""
    )
    assert all(right <= left or right_of <= start for start, right in names for left, right_of in lines)
    assert lines[0][1] - lines[0][0] > (width[1] - width[0]) / 2
    seen.point(".node", 0)
    assert flows.layers[0].groups[0].name in seen.texts("section p")[1]
    assert seen.run("document.querySelectorAll('.faded').length") == 2


def test_names_are_text_and_never_markup(asked: striate.Client, picture: np.ndarray, show: Show) -> None:
    channel = int(asked.semantic_dictionary(picture, "mixed5b", icons=False).channels[0, 0])
    hostile = "{{script}}</script><img src=x onerror=\"document.title='taken'\">"
    asked.set_label("mixed5b", channel, hostile)
    try:
        page = asked.semantic_dictionary(picture, "mixed5b", icons=False).to_html()
    finally:
        asked.delete_label("mixed5b", channel)
    seen = show(page)
    seen.click(".cell", 0)
    assert seen.texts(".neuron .name")[0] == hostile
    assert "taken" not in seen.run("document.title")


def test_natural_examples_stand_beside_the_icon(asked: striate.Client, picture: np.ndarray, show: Show) -> None:
    images = [striate.LabelledImage(draw(number, "cat").image, "cat") for number in range(4)]
    list(asked.index_examples(images, "mixed5b"))
    words = asked.semantic_dictionary(picture, "mixed5b", icons=False, examples=3)
    seen = show(words.to_html())
    seen.click(".cell", 4 * 7 + 2)
    counts, said = seen.run(
        """(() => {
            const rows = [...document.querySelectorAll(".neuron")];
            const images = rows.map((row) => [...row.querySelectorAll(".examples img")]);
            return [images.map((row) => row.length), images[0].map((image) => image.title)];
        })()"""
    )
    neurons = words.at(4, 2)
    assert counts == [len(neuron.examples) for neuron in neurons]
    assert said == [f"cat: activation {each.activation:.4g}" for each in neurons[0].examples]
    seen.until("[...document.querySelectorAll('.examples img')].every((image) => image.naturalWidth === 96)")


def test_the_whole_layers_icons_take_the_pictures_place(
    words: striate.SemanticDictionary, picture: np.ndarray, show: Show
) -> None:
    icons = [drawn_icon(picture)] * 48 + [striate.results.Icon("queued")]
    seen = show(replace(words, position_icons=icons).to_html())
    shown = "[...document.querySelectorAll('.cell')].map((cell) => getComputedStyle(cell).backgroundImage.slice(0, 20))"
    assert set(seen.run(shown)) == {"none"}
    seen.click(".toggle")
    assert [image.startswith('url("data:image/webp') for image in seen.run(shown)] == [True] * 48 + [False]


def test_a_groups_share_of_the_variation_and_the_choice_of_their_number_are_shown(
    asked: striate.Client, picture: np.ndarray, show: Show
) -> None:
    groups = asked.factorize(picture, "mixed5b", components=0, classes=2, sobol_points=4, icons=False)
    seen = show(groups.to_html())
    shares = [share for group in groups.groups for share in group.sobol_indices.values()]
    assert len(shares) == 2 * len(groups.groups)
    told = [int(text.rstrip("%")) for text in seen.texts(".shares .number")]
    np.testing.assert_allclose(told, np.multiply(shares, 100), atol=0.6)
    assert len(seen.texts(".choice circle title")) == len(groups.choices)
    chosen = groups.choices[len(groups.groups) - 1]
    assert seen.texts(".choice text.chosen") == [str(chosen.components)]
    told_of_it = f"{chosen.components} groups explain {chosen.explained_variance:.1%}"
    assert seen.texts(".choice circle.chosen title") == [told_of_it]


def test_nothing_stands_for_what_was_not_asked_for(groups: striate.Factorization, show: Show) -> None:
    seen = show(groups.to_html())
    assert seen.texts(".shares, .choice, .more") == []
