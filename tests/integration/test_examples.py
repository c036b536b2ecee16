"""A folder of images sent once: names, natural examples and quantiles of each channel, and nothing by half."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import striate
import striate.aio
import torch
from conftest import settings
from PIL import Image
from safetensors.torch import load_file
from striate import LabelledImage
from striate_service.local import LocalServer
from striate_service.models.embedded import CLASSES, WEIGHTS
from striate_service.models.embedded.feed import normalize
from striate_service.models.embedded.network import parts
from striate_service.models.embedded.pictures import draw
from striate_service.models.layers import capture

LAYER = "mixed4d"
EACH = 8  # pictures of a class: the fewest that name channels


@pytest.fixture(scope="module")
def pictures() -> list[LabelledImage]:
    return [
        LabelledImage(draw(number, name).image, name, f"{name} {number}") for number in range(EACH) for name in CLASSES
    ]


@pytest.fixture(scope="module")
def maps(pictures: list[LabelledImage]) -> np.ndarray:
    """What LAYER computes for them, [N, C, H, W]."""
    network = parts()
    network.load_state_dict(load_file(WEIGHTS))
    pixels = torch.from_numpy(np.stack([each.image for each in pictures]))
    with torch.inference_mode():
        return capture(network.eval(), normalize(pixels), [LAYER]).layers[LAYER].numpy()


@pytest.fixture(scope="module")
def indexed(
    tmp_path_factory: pytest.TempPathFactory, pictures: list[LabelledImage]
) -> Iterator[tuple[LocalServer, list[striate.IndexProgress]]]:
    """A server of its own, whose labels and examples are nobody else's, with pictures indexed."""
    with LocalServer(settings(tmp_path_factory.mktemp("home"), models=["parts"], devices=("cpu",))) as server:
        with striate.Client(server.target, timeout=120) as client:
            progress = list(client.index_examples(iter(pictures), [LAYER, "fc"]))
        yield server, progress


@pytest.fixture
def client(indexed: tuple[LocalServer, list[striate.IndexProgress]]) -> Iterator[striate.Client]:
    with striate.Client(indexed[0].target, timeout=120) as connected:
        yield connected


def test_naming_the_class_logits_finds_the_classes(client: striate.Client) -> None:
    names = [each.label for each in client.examples("fc").channels.values()]
    right = [label.text == name for label, name in zip(names, CLASSES, strict=True)]
    assert np.mean(right) >= 0.9
    assert {label.source for label in names if label.text} == {"examples"}
    assert all(0.25 <= label.score <= 1 for label in names if label.text)


def test_progress_ends_with_what_was_stored(
    indexed: tuple[LocalServer, list[striate.IndexProgress]], client: striate.Client
) -> None:
    counts = [each.indexed for each in indexed[1]]
    assert counts == sorted(counts)
    assert counts[-1] == len(CLASSES) * EACH
    assert {layer.name for layer in indexed[1][-1].layers} == {LAYER, "fc"}
    named = sum(each.label.source == "examples" for each in client.examples("fc", examples=0).channels.values())
    assert next(count for layer, count in indexed[1][-1].layers.items() if layer.name == "fc") == named


def test_examples_and_statistics_are_those_of_the_activations(
    client: striate.Client, pictures: list[LabelledImage], maps: np.ndarray
) -> None:
    found = client.examples(LAYER, [3, 50, 100], classes=20)
    assert found.images == len(pictures)
    assert list(found.channels) == [3, 50, 100]
    for channel, each in found.channels.items():
        tops = maps[:, channel].max((1, 2))
        strongest = np.argsort(-tops, kind="stable")[:5]
        assert [one.image_name for one in each.examples] == [pictures[i].name for i in strongest]
        assert [one.class_name for one in each.examples] == [pictures[i].class_name for i in strongest]
        np.testing.assert_allclose([one.activation for one in each.examples], tops[strongest], rtol=1e-4)
        exact = [np.quantile(maps[:, channel], share, method="lower") for share in each.quantiles]
        np.testing.assert_allclose(list(each.quantiles.values()), exact, rtol=0.011, atol=1e-5)
        assert list(each.quantiles) == [0.5, 0.9, 0.99, 0.999]
        for name, peak in each.mean_peaks.items():
            assert peak == pytest.approx(tops[[one.class_name == name for one in pictures]].mean(), rel=1e-3, abs=1e-4)


def test_a_crop_is_cut_from_where_the_channel_is_strongest(
    client: striate.Client, pictures: list[LabelledImage], maps: np.ndarray
) -> None:
    channel = int(maps.max((0, 2, 3)).argmax())
    (each,) = client.examples(LAYER, [channel]).channels.values()
    image = np.argmax(maps[:, channel].max((1, 2)))
    row, column = np.unravel_index(maps[image, channel].argmax(), (14, 14))
    top, left = (int(np.clip((place - 2) * 8, 0, 112 - 40)) for place in (row, column))
    cut = Image.fromarray(pictures[image].image[top : top + 40, left : left + 40]).resize((96, 96))
    shown = each.examples[0].image.convert("RGB")
    assert shown.size == (96, 96)
    assert np.abs(np.asarray(shown, float) - np.asarray(cut, float)).mean() < 8, "but for WebP's losses"


def test_a_dictionary_shows_examples_once_a_channel_beside_icons_or_alone(
    client: striate.Client, pictures: list[LabelledImage]
) -> None:
    words = client.semantic_dictionary(pictures[0].image, LAYER, icons=False, examples=2)
    assert {len(neuron.examples) for neuron in words.neurons.values()} == {2}
    assert words.at(5, 5)[0].examples == words.neurons[words.at(5, 5)[0].channel].examples
    both = client.semantic_dictionary(pictures[0].image, LAYER, positions=[(5, 5)], examples=1, wait_for_icons=False)
    assert all(neuron.icon_file.status != "not_requested" and neuron.examples for neuron in both.neurons.values())
    without = client.semantic_dictionary(pictures[0].image, LAYER, icons=False)
    assert not any(neuron.examples for neuron in without.neurons.values())
    elsewhere = client.semantic_dictionary(pictures[0].image, "mixed5a", icons=False, examples=2)
    assert not any(neuron.examples for neuron in elsewhere.neurons.values()), "that layer is not indexed"


def test_a_persons_name_goes_before_the_images_classes(client: striate.Client) -> None:
    assert client.examples("fc", [3]).channels[3].label.source == "examples"
    client.set_label("fc", 3, "my name for it")
    try:
        assert client.examples("fc", [3]).channels[3].label.text == "my name for it"
    finally:
        client.delete_label("fc", 3)
    assert client.examples("fc", [3]).channels[3].label.source == "examples"


async def test_indexing_again_replaces_and_the_awaited_client_does_the_same(
    client: striate.Client, indexed: tuple[LocalServer, list[striate.IndexProgress]], pictures: list[LabelledImage]
) -> None:
    async with striate.aio.Client(indexed[0].target, timeout=120) as awaited:
        for few in (pictures[:30], pictures[:20]):
            updates = [each async for each in awaited.index_examples(few, "mixed3a", examples=2)]
        assert updates[-1].indexed == 20
        found = await awaited.examples("mixed3a", [0, 1])
    assert found == client.examples("mixed3a", [0, 1])
    assert found.images == 20
    assert all(len(each.examples) <= 2 for each in found.channels.values())


def test_what_cannot_be_read_is_told_and_the_rest_is_indexed(
    client: striate.Client, pictures: list[LabelledImage]
) -> None:
    damaged = LabelledImage(b"no image at all", "dog", "broken.jpg")
    updates = list(client.index_examples([pictures[0], damaged, pictures[1]], "mixed3b"))
    skipped = [each for update in updates for each in update.skipped]
    assert [name for name, _ in skipped] == ["broken.jpg"]
    assert "no image" in skipped[0][1]
    assert updates[-1].indexed == 2


def test_a_stream_that_breaks_off_changes_nothing(client: striate.Client, pictures: list[LabelledImage]) -> None:
    before = client.examples(LAYER, [0])

    def broken() -> Iterator[LabelledImage]:
        yield from pictures[:40]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(client.index_examples(broken(), LAYER))
    for update in client.index_examples(pictures[:60], LAYER):
        if update.indexed:
            break  # as a person does who presses Ctrl-C
    assert client.examples(LAYER, [0]) == before


def test_what_is_wrong_with_a_call_is_said(client: striate.Client, pictures: list[LabelledImage]) -> None:
    with pytest.raises(striate.NotFound, match="striate index FOLDER --layer conv1") as missing:
        client.examples("conv1")
    assert missing.value.kind == "index of"
    with pytest.raises(striate.InvalidArgument) as none:
        list(client.index_examples([], LAYER))
    assert "images" in none.value.violations
    with pytest.raises(striate.InvalidArgument) as twice:
        list(client.index_examples(pictures[:1], [LAYER, LAYER]))
    assert "layers" in twice.value.violations
    ready = LabelledImage(np.zeros((3, 112, 112), np.float32))
    with pytest.raises(striate.InvalidArgument) as preprocessed:
        list(client.index_examples([ready], LAYER))
    assert "images[0].image" in preprocessed.value.violations
    with pytest.raises(striate.InvalidArgument) as long:
        list(client.index_examples([LabelledImage(pictures[0].image, "x" * 201)], LAYER))
    assert "images[0].class_name" in long.value.violations
    with pytest.raises(striate.InvalidArgument) as many:
        client.semantic_dictionary(pictures[0].image, LAYER, examples=17)
    assert "examples" in many.value.violations


def test_a_folder_is_indexed_from_the_command_line(
    indexed: tuple[LocalServer, list[striate.IndexProgress]], pictures: list[LabelledImage], tmp_path: Path
) -> None:
    for each in pictures[:40]:
        (tmp_path / "pictures" / each.class_name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(each.image).save(tmp_path / "pictures" / each.class_name / f"{each.name}.png")
    (tmp_path / "pictures" / "dog" / "broken.png").write_bytes(b"broken")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("striate")), *arguments, "--server", indexed[0].target]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)

    done = run("index", "pictures", "--layer", "mixed4a", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["indexed"] == 40
    assert list(facts["skipped"]) == ["dog/broken.png"]
    listed = run("examples", "--layer", "mixed4a", "--channels", "0-2", "-o", "sheet.png", "--json")
    assert [each["channel"] for each in json.loads(listed.stdout)] == [0, 1, 2]
    assert Image.open(tmp_path / "sheet.png").height == 3 * 96

    (tmp_path / "classes.csv").write_text("file,class\ndog/nowhere.png,dog\n")
    wrong = run("index", "pictures", "--layer", "mixed4a", "--classes", "classes.csv")
    assert wrong.returncode == 1
    assert "nowhere.png" in wrong.stderr
    (tmp_path / "classes.csv").write_text("image,label\na.png,dog\n")
    unlike = run("index", "pictures", "--layer", "mixed4a", "--classes", "classes.csv")
    assert "no column class and no column file" in unlike.stderr
    assert run("index", "pictures", "--layer", "mixed4z").returncode == 1
