"""Activations equal what plain torch hooks see, alone and in the company of strangers."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import striate
import tiny_networks
import torch
from conftest import SQUEEZENET, preprocess, settings
from striate_service.config import ModelSettings, PreprocessingSettings
from striate_service.local import LocalServer
from striate_service.models.loading import load_model
from striate_service.models.torchvision_compat import import_torchvision

LAYERS = {
    "googlenet": ["conv1", "mixed3a", "mixed4d", "inception5b.branch2"],
    "resnet18": ["conv1", "layer1.0.conv1", "layer2.1", "layer4"],
    "mobilenet_v2": ["features.1.conv.0.0", "features.5", "features.18"],
    "vit": ["conv_proj", "encoder.layers.encoder_layer_0", "encoder.ln"],
    "squeezenet": ["features.0", "features.1", "features.7", "features.12.expand3x3", "classifier.1"],
}
SIZES = {
    "mobilenet_v2": (232, 224),  # what torchvision's default weights of this architecture were evaluated with
    "vit": (tiny_networks.SIZE, tiny_networks.SIZE),
}
"""To what side an image is resized, and then cropped, where it is not 256 and 224."""


@pytest.fixture(scope="module")
def networks(
    random_networks: dict[str, ModelSettings], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ModelSettings]:
    """A vision transformer's blocks are alike: two are exported as twelve are, in a tenth of the time."""
    weights = tmp_path_factory.mktemp("weights") / "vit.pth"
    torch.save(tiny_networks.vit().state_dict(), weights)
    preprocessing = PreprocessingSettings(resize=tiny_networks.SIZE, crop=tiny_networks.SIZE)
    vit = ModelSettings(name="vit", architecture="tiny_networks:vit", weights=str(weights), preprocessing=preprocessing)
    found = {**random_networks, "vit": vit}
    if SQUEEZENET.is_file():
        found["squeezenet"] = ModelSettings(name="squeezenet", architecture="squeezenet1_0", weights=str(SQUEEZENET))
    return found


@pytest.fixture(scope="module")
def zoo(
    networks: dict[str, ModelSettings], graphs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[striate.Client]:
    """One server of them all, with one worker, so that concurrent requests do share batches."""
    home = tmp_path_factory.mktemp("zoo")
    (home / "onnx").symlink_to(graphs)
    changes = {"models": tuple(networks.values()), "devices": ("cpu",), "cpu_engine": "onnx"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(tiny_networks.__file__).parent), prepend=os.pathsep)
        with (
            LocalServer(settings(home, **changes)) as server,
            striate.Client(server.target, timeout=300) as client,
        ):
            yield client


@cache
def torchvisions_own(architecture: str, weights: str) -> torch.nn.Module:
    """Return a network as torchvision builds it."""
    state = torch.load(weights, weights_only=True)
    if architecture == "tiny_networks:vit":
        network = tiny_networks.vit()
    else:
        options = {"aux_logits": True, "init_weights": False} if "aux1.conv.conv.weight" in state else {}
        classes = 10 if architecture != "squeezenet1_0" else 1000
        network = import_torchvision().models.get_model(architecture, num_classes=classes, **options)
    network.load_state_dict(state)
    return network.eval()


def reference(model: ModelSettings, layers: list[str], image: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return layers' outputs and the logits by forward hooks on torchvision's own network."""
    network = copy.deepcopy(torchvisions_own(model.architecture, model.weights))
    seen: dict[str, np.ndarray] = {}
    for layer in layers:
        path = layer.replace("mixed", "inception")
        network.get_submodule(path).register_forward_hook(
            lambda _module, _inputs, output, layer=layer: seen.__setitem__(layer, output.clone().numpy())
        )
    with torch.no_grad():
        logits = network(preprocess(image, *SIZES.get(model.name, (256, 224))))
    return seen, logits.numpy()


def relative_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("name", LAYERS)
def test_alone_they_equal_forward_hooks(
    name: str, zoo: striate.Client, networks: dict[str, ModelSettings], photo: np.ndarray
) -> None:
    if name not in networks:
        pytest.skip("the real network (../shared) is not here")
    expected, logits = reference(networks[name], LAYERS[name], photo)
    found = zoo.activations(photo, LAYERS[name], model=name)
    for layer in LAYERS[name]:
        assert found[layer].shape == expected[layer].shape
        assert relative_difference(found[layer], expected[layer]) < 1e-5, layer
    probabilities = torch.from_numpy(logits).softmax(1)[0].sort(descending=True).values[:5]
    assert [p for _, p in found.predictions[0]] == pytest.approx(probabilities.tolist(), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_batched_with_strangers_they_are_the_same(
    name: str, zoo: striate.Client, networks: dict[str, ModelSettings], photos: list[np.ndarray]
) -> None:
    if name not in networks:
        pytest.skip("the real network (../shared) is not here")
    layers = LAYERS[name]

    def ask(number: int) -> striate.Activations:
        asked = layers if number % 2 else layers[: 1 + number % len(layers)]  # strangers ask for other layers
        return zoo.activations(photos[number % len(photos)], asked, model=name, classes=number % 3)

    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(ask, range(10)))
    references = [reference(networks[name], layers, photo)[0] for photo in photos]
    for number, answer in enumerate(answers):
        expected = references[number % len(photos)]
        for layer in answer:
            assert relative_difference(answer[layer], expected[layer]) < 1e-5, layer


def test_reductions_channels_and_half_precision_are_of_the_whole(zoo: striate.Client, photos: list[np.ndarray]) -> None:
    ask = {"images": photos[:2], "layers": "layer2.1", "model": "resnet18"}
    whole = zoo.activations(**ask)["layer2.1"]
    np.testing.assert_allclose(zoo.activations(**ask, reduce="mean")["layer2.1"], whole.mean((2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(zoo.activations(**ask, reduce="max")["layer2.1"], whole.max((2, 3)))
    np.testing.assert_array_equal(zoo.activations(**ask, channels=[5, 2])["layer2.1"], whole[:, [5, 2]])
    half = zoo.activations(**ask, dtype="float16")["layer2.1"]
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, whole, rtol=2e-3, atol=1e-3)


def test_chosen_positions_are_those_of_the_whole(
    client: striate.Client, photos: list[np.ndarray], squeezenet: torch.nn.Module
) -> None:
    positions, channels = [(3, 5), (0, 12), (12, 0), (3, 5)], [7, 200, 3]
    seen: list[torch.Tensor] = []
    squeezenet.get_submodule("features.10").register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    squeezenet(torch.cat([preprocess(photo) for photo in photos[:2]]))
    expected = seen[0][:, channels][:, :, [row for row, _ in positions], [column for _, column in positions]].numpy()
    ask = {"layers": "features.10", "model": "squeezenet", "positions": positions, "channels": channels}
    found = client.activations(photos[:2], **ask)["features.10"]
    assert found.shape == (2, 3, 4)
    assert relative_difference(found, expected) < 1e-5
    mean = client.activations(photos[:2], **ask, reduce="mean")["features.10"]
    assert relative_difference(mean, expected.mean(2)) < 1e-5
    ((_, streamed),) = client.stream_activations([("both", photos[:2])], **ask, dtype="float16")
    assert isinstance(streamed, striate.Activations)
    np.testing.assert_allclose(streamed["features.10"], expected, rtol=2e-3, atol=2e-3)


def test_positions_that_a_layer_has_not_are_refused(client: striate.Client, photo: np.ndarray) -> None:
    with pytest.raises(striate.InvalidArgument, match="mixed4a has 14 rows") as refused:
        client.activations(photo, "mixed4a", positions=[(0, 0), (14, 0)])
    assert list(refused.value.violations) == ["positions[1].row"]
    with pytest.raises(striate.InvalidArgument, match="fc has 1 row"):
        client.activations(photo, "fc", positions=[(1, 0)])


def test_preprocessed_input_is_used_as_it_is(zoo: striate.Client, photo: np.ndarray) -> None:
    prepared = preprocess(photo)[0].numpy()
    ours = zoo.activations(prepared, "layer1", model="resnet18")["layer1"]
    np.testing.assert_allclose(ours, zoo.activations(photo, "layer1", model="resnet18")["layer1"], atol=1e-4)


def test_a_stream_answers_a_caller_who_waits_before_sending_more(
    client: striate.Client, photos: list[np.ndarray]
) -> None:
    answered = threading.Event()
    answered.set()

    def one_at_a_time() -> Iterator[tuple[str, np.ndarray]]:
        for number, image in enumerate(photos[:3]):
            assert answered.wait(60), "no answer came before the next request"
            answered.clear()
            yield str(number), image

    arrived = []
    for key, _ in client.stream_activations(one_at_a_time(), "mixed4a", reduce="mean", timeout=120):
        arrived.append(key)
        answered.set()
    assert arrived == ["0", "1", "2"]


def test_a_stream_answers_each_request_under_its_name_and_survives_a_bad_one(
    zoo: striate.Client, photos: list[np.ndarray], tmp_path: Path
) -> None:
    items = [(f"photo {number}", photos[number % 5]) for number in range(40)] + [("broken", b"no image")]
    answers = dict(zoo.stream_activations(iter(items), "layer1", model="resnet18", reduce="mean"))
    assert set(answers) == {name for name, _ in items}
    assert isinstance(answers.pop("broken"), striate.InvalidArgument)
    expected = zoo.activations(photos[0], "layer1", model="resnet18", reduce="mean")["layer1"]
    found = answers["photo 0"]
    assert isinstance(found, striate.Activations)
    np.testing.assert_allclose(found["layer1"], expected, rtol=1e-4, atol=1e-5)


def test_the_paper_names_of_googlenets_blocks_are_aliases(zoo: striate.Client) -> None:
    aliases = {alias: layer.name for layer in zoo.model("googlenet").layers for alias in layer.aliases}
    assert aliases["mixed3a"] == "inception3a"
    assert aliases["mixed5b"] == "inception5b"
    assert len(aliases) == 9


def test_replies_name_the_model_its_weights_and_the_layer(
    zoo: striate.Client, networks: dict[str, ModelSettings], photo: np.ndarray
) -> None:
    found = zoo.activations(photo, "mixed4a", model="googlenet", reduce="mean")
    assert found.model.version == load_model(networks["googlenet"]).description.version
    assert (found.layers[0].name, found.layers[0].shape) == ("inception4a", (512, 14, 14))
