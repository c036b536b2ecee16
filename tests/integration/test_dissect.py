"""`striate dissect` on a folder of images and masks, against a computation of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import striate
import torch
from PIL import Image
from safetensors.torch import load_file
from striate_service.dissect import MaskedImages, dissect_layers
from striate_service.local import LocalServer
from striate_service.models.embedded import WEIGHTS
from striate_service.models.embedded.feed import normalize
from striate_service.models.embedded.network import parts
from striate_service.models.embedded.pictures import draw

_CONCEPTS = ("wheel", "window", "eye")
_LAYER = "mixed4d"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of cars and cats with the masks of three parts, and borders that the network does not see."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "images").mkdir()
    for number in range(20):
        picture = draw(number, "car" if number % 2 else "cat")
        _bordered(picture.image).save(folder / "images" / f"{number}.png")
        for concept in _CONCEPTS:
            if concept in picture.masks:
                (folder / "masks" / concept).mkdir(parents=True, exist_ok=True)
                mask = picture.masks[concept].astype(np.uint8) * 255
                _bordered(mask).save(folder / "masks" / concept / f"{number}.png")
    return folder


def _bordered(pixels: np.ndarray) -> Image.Image:
    """Add 30 pixels on the left and on the right: a centre crop takes them away."""
    return Image.fromarray(np.pad(pixels, [(0, 0), (30, 30)] + [(0, 0)] * (pixels.ndim - 2)))


def _brute_force() -> np.ndarray:
    """IoU of every channel with every concept, in plain numpy: [C, concepts]."""
    network = parts()
    network.load_state_dict(load_file(WEIGHTS))
    network.eval()
    outputs: list[torch.Tensor] = []
    network.get_submodule(_LAYER).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    pictures = [draw(number, "car" if number % 2 else "cat") for number in range(20)]
    with torch.no_grad():
        network(normalize(torch.from_numpy(np.stack([picture.image for picture in pictures]))))
    maps = outputs[0].half().float()
    ordered = np.sort(maps.transpose(0, 1).flatten(1).numpy(), axis=1)
    limits = ordered[:, int(0.995 * ordered.shape[1])]
    enlarged = torch.nn.functional.interpolate(maps, (112, 112), mode="bilinear", align_corners=False).numpy()
    active = enlarged > limits[:, None, None]
    blank = np.zeros((112, 112), bool)
    shown = np.stack([[picture.masks.get(concept, blank) for concept in _CONCEPTS] for picture in pictures])
    both = np.einsum("nchw,nkhw->ck", active.astype(np.float32), shown.astype(np.float32))
    totals = active.sum((0, 2, 3))[:, None] + shown.sum((0, 2, 3))
    return both / (totals - both)


@pytest.fixture
def cleared(client: striate.Client) -> Iterator[striate.Client]:
    """A client after whose test the layer has the names again that it had."""
    yield client
    for label in client.labels(_LAYER):
        if label.author == "striate dissect":
            client.delete_label(_LAYER, label.channel)


def _dissect(server: LocalServer, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("striate")), "dissect", *map(str, arguments), "--layer", _LAYER]
    return subprocess.run([*command, "--server", server.target], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def facts(server: LocalServer, folder: Path) -> list[dict[str, Any]]:
    """What `striate dissect --json` says of the folder."""
    done = _dissect(server, folder, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_channels_are_matched_with_masks_as_the_definition_says(facts: list[dict[str, Any]]) -> None:
    found = {fact["channel"]: fact for fact in facts}
    expected = _brute_force()
    best = expected.max(1)
    sure = np.flatnonzero(np.abs(best - 0.04) > 0.003)
    assert [channel in found for channel in sure] == (best[sure] > 0.04).tolist()
    for channel, fact in found.items():
        assert fact["iou"] == pytest.approx(best[channel], abs=0.02)
        assert expected[channel, _CONCEPTS.index(fact["concept"])] > best[channel] - 0.02
    assert len(found) > 20


def test_detectors_are_named_but_not_over_a_persons_name(
    server: LocalServer, cleared: striate.Client, folder: Path, facts: list[dict[str, Any]]
) -> None:
    first, second = (fact["channel"] for fact in facts[:2])
    cleared.set_label(_LAYER, first, "my name for it")
    try:
        done = _dissect(server, folder, "--save")
        assert done.returncode == 0, done.stderr
        assert "channels detect 3 of 3 concepts" in done.stdout
        names = {label.channel: label for label in cleared.labels(_LAYER)}
        assert names[first].text == "my name for it"
        assert names[second].text in _CONCEPTS
        assert names[second].source == "dissection"
        assert names[second].score > 0.04
    finally:
        cleared.delete_label(_LAYER, first)


def test_what_is_wrong_with_a_folder_is_said(server: LocalServer, client: striate.Client, folder: Path) -> None:
    wheel = (folder / "masks" / "wheel" / "1.png").read_bytes()
    (folder / "masks" / "wheel" / "99.png").write_bytes(wheel)
    stranger = _dissect(server, folder)
    assert stranger.returncode == 1
    assert "99.png is a mask of no image" in stranger.stderr
    assert "Traceback" not in stranger.stderr
    (folder / "masks" / "wheel" / "99.png").unlink()

    Image.new("L", (10, 10)).save(folder / "masks" / "wheel" / "1.png")
    with pytest.raises(ValueError, match="10 x 10, but its image is 172 x 112"):
        dissect_layers(client, client.model(), MaskedImages(folder), [_LAYER])
    (folder / "masks" / "wheel" / "1.png").write_bytes(wheel)

    with pytest.raises(FileNotFoundError, match="should hold images"):
        MaskedImages(folder / "images")
