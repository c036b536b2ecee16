"""Networks of unusual inputs and outputs, behind a real server; and what becomes of those that cannot be loaded."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import striate
import torch
from conftest import settings
from PIL import Image
from striate_service.local import LocalServer
from varied import Varied

WIDE = "resize=32,40 crop=32,40 mean={0} std={0}"


def size(channels: int) -> str:
    return WIDE.format(",".join(["0.5"] * channels))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[striate.Client]:
    models = [
        f"grey=varied:Varied:built {size(1)} arguments.channels=1",
        f"rgba=varied:Varied:built {size(4)} arguments.channels=4",
        f"six=varied:Varied:built {size(6)} arguments.channels=6",
        f"features=varied:Varied:built {size(3)} arguments.classes=0",
        f"one=varied:Varied:built {size(3)} arguments.classes=1",
        f"many=varied:Varied:built {size(3)} activation=sigmoid",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=":")
        own = settings(
            tmp_path_factory.mktemp("home"),
            models=models,
            devices=("cpu",),
            allow_model_changes=True,
        )
        with LocalServer(own) as running, striate.Client(running.target, timeout=120) as client:
            yield client


def expected(network: Varied, pixels: np.ndarray) -> np.ndarray:
    """Return conv's output [8, 16, 20] for uint8 pixels [32, 40, C]."""
    inputs = (torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    return network.conv(inputs)[0].detach().numpy()


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, 40, 6), np.uint8)


@pytest.mark.parametrize(("name", "channels", "mode"), [("grey", 1, "L"), ("rgba", 4, "RGBA"), ("six", 6, None)])
def test_a_network_sees_the_channels_that_it_takes(
    zoo: striate.Client, pixels: np.ndarray, name: str, channels: int, mode: str | None
) -> None:
    own = pixels[..., :channels]
    conv = expected(Varied(channels), own)
    found = zoo.activations(own, "conv", model=name)
    np.testing.assert_allclose(found["conv"][0], conv, rtol=1e-4, atol=1e-4)
    assert zoo.model(name).channels == channels
    assert zoo.model(name).input_size == (32, 40)
    tensor = (own.transpose(2, 0, 1) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(zoo.activations(tensor, "conv", model=name)["conv"][0], conv, rtol=1e-4, atol=1e-4)
    if mode:
        picture = Image.fromarray(own[..., 0] if mode == "L" else own, mode)
        got = zoo.activations(picture, "conv", model=name)["conv"][0]
        np.testing.assert_allclose(got, conv, rtol=1e-4, atol=0.02 if mode == "RGBA" else 1e-4)
        rgb = np.repeat(own[..., :1], 3, axis=2)  # grey as RGB, and opaque
        opaque = np.concatenate([rgb, np.full_like(rgb[..., :1], 255)], axis=2)
        seen = expected(Varied(channels), own if mode == "L" else opaque)
        np.testing.assert_allclose(zoo.activations(rgb, "conv", model=name)["conv"][0], seen, rtol=1e-4, atol=1e-4)


def test_channels_that_a_network_does_not_take_are_refused(zoo: striate.Client, pixels: np.ndarray) -> None:
    with pytest.raises(striate.InvalidArgument, match=r"uint8 \[height, width, 6\], and is uint8 \[32, 40, 3\]"):
        zoo.activations(pixels[..., :3], "conv", model="six")
    with pytest.raises(striate.InvalidArgument, match=r"uint8 \[height, width, 3\], RGB"):
        zoo.activations(pixels, "conv", model="many")
    with pytest.raises(striate.InvalidArgument, match="is a picture, and the model takes 6 channels; send pixels"):
        zoo.activations(Image.fromarray(pixels[..., :3]), "conv", model="six")


def test_rectangles_are_seen_and_shown_whole(zoo: striate.Client) -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 80, 3), np.uint8))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    for fit in ("crop", "stretch", "pad"):
        found = zoo.semantic_dictionary(buffer.getvalue(), "conv", model="many", fit=fit, icons=False)
        assert found.magnitude.shape == (16, 20)
        assert found.view.crop == pytest.approx((0, 0, 80, 64)), fit
    icons = zoo.render_icons("conv", channels=[0], model="grey")
    assert list(icons)[-1].completed == 1


def test_networks_without_classes_answer_everything_but_predictions(zoo: striate.Client, pixels: np.ndarray) -> None:
    image = pixels[..., :3]
    assert zoo.model("features").classes == ()
    assert zoo.activations(image, "conv", model="features").predictions == []
    dictionary = zoo.semantic_dictionary(image, "conv", model="features", icons=False)
    assert dictionary.at(3, 4)[0].effects == {}
    with pytest.raises(striate.InvalidArgument, match="features gives no classes"):
        zoo.semantic_dictionary(image, "conv", model="features", classes=["cat"], icons=False)


def test_probabilities_are_what_the_activation_makes_of_logits(zoo: striate.Client, pixels: np.ndarray) -> None:
    image = pixels[..., :3]
    for name, classes in (("one", 1), ("many", 5)):
        network = Varied(classes=classes)
        inputs = (torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
        probabilities = network(inputs)[0].sigmoid().sort(descending=True).values
        (found,) = zoo.activations(image, "conv", model=name).predictions
        assert [probability for _, probability in found] == pytest.approx(probabilities.tolist(), abs=1e-5)
        assert zoo.model(name).activation == "sigmoid"


def test_fidelity_compares_probabilities_of_classes_that_do_not_exclude_each_other(
    zoo: striate.Client, pixels: np.ndarray
) -> None:
    image = pixels[..., :3]
    inputs = (torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    for name, classes in (("one", 1), ("many", 5)):
        network = Varied(classes=classes)
        found = zoo.factorize(image, "conv", model=name, components=1, icons=False)
        maps = torch.from_numpy((found.spatial @ found.directions).transpose(0, 3, 1, 2).copy())
        own, then = (network.fc(network.activation(each).mean((2, 3)))[0] for each in (network.conv(inputs), maps))
        p, q = (torch.distributions.Bernoulli(logits=each.double()) for each in (own, then))
        divergence = torch.distributions.kl_divergence(p, q).sum().detach()
        (ours,) = found.fidelity
        assert ours.kl_divergence == pytest.approx(float(divergence), rel=1e-3, abs=1e-6)
        same = bool((own > 0) == (then > 0)) if classes == 1 else bool(own.argmax() == then.argmax())
        assert ours.same_top_class == same


def test_what_cannot_be_loaded_reaches_whoever_asked(zoo: striate.Client) -> None:
    small = {"resize": 32, "crop": (32, 40)}
    with pytest.raises(striate.InvalidArgument, match="bad: building the network failed: KeyError: 'aaa") as refused:
        zoo.load_model("bad", "varied:Broken", "built", preprocessing={"resize": 40, "crop": (32, 40)})
    assert len(str(refused.value)) < 400
    with pytest.raises(striate.InvalidArgument, match="must be at least crop"):
        zoo.load_model("bad", "varied:Varied", "built", preprocessing=small)
    assert [model.name for model in zoo.models()][-1] == "many", "nothing has changed"


def test_networks_that_differ_in_code_alone_share_nothing(zoo: striate.Client) -> None:
    wide = {"resize": (32, 40), "crop": (32, 40), "mean": [0.5] * 3, "std": [0.5] * 3}
    arguments = {"activation": "abs"}
    other = zoo.load_model(
        "other", "varied:Varied", "built", preprocessing=wide, arguments=arguments, activation="none"
    )
    assert (len(other.classes), other.activation, other.input_size) == (5, "none", (32, 40))
    assert other.version != zoo.model("many").version
    zoo.set_label("conv", 3, "corner", model="many")
    assert [each.text for each in zoo.labels("conv", model="many")] == ["corner"]
    assert [each.text for each in zoo.labels("conv", model="other")] == []
