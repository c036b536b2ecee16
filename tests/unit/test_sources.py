"""Networks of timm, transformers, torch.export and people's own factories are served as their libraries would."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from striate_service.config import ModelSettings, PreprocessingSettings
from striate_service.explain.images import Fit, GivenImage, Target, decode, open_image
from striate_service.models.description import Preprocessing
from striate_service.models.layers import capture
from striate_service.models.loading import LoadedModel, ModelError, load_model
from striate_service.models.sources import torchvision
from striate_service.models.torchvision_compat import import_torchvision
from striate_service.models.weights import read_weights
from torch import Tensor, nn

import_torchvision()  # before timm and transformers, which import it themselves
timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")

VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


def load(text: str) -> LoadedModel:
    return load_model(ModelSettings.parse(f"net={text}"))


def photo(height: int = 48, width: int = 80) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def seen(picture: Image.Image, preprocessing: Preprocessing) -> Tensor:
    """Return what the network sees of a picture, as the service makes it: [C, H, W], normalized."""
    target = Target(preprocessing, Fit.CROP, exact=True)
    pixels = decode(open_image(GivenImage(np.asarray(picture), "image"), 10**6, target), "image", target).pixels
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    return (torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255 - mean) / std


# timm


@pytest.mark.parametrize(
    ("name", "crop_mode", "size"),
    [
        ("resnet18", "center", (224, 224)),
        ("resnet18", "center", (96, 160)),
        ("resnet18", "center", (160, 96)),
        ("resnet18", "squash", (96, 160)),
        ("tf_efficientnet_lite0", "center", (224, 224)),
        ("vit_tiny_patch16_224", "squash", (224, 224)),
    ],
)
def test_timms_networks_see_pictures_as_timm_shows_them(
    name: str, crop_mode: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False).eval()
    torch.save(network.state_dict(), tmp_path / "net.pth")
    config = timm.data.resolve_data_config(
        {"crop_mode": crop_mode, "input_size": (3, *size)}, pretrained_cfg=network.pretrained_cfg
    )
    monkeypatch.setattr(timm.data, "resolve_data_config", lambda *_args, **_options: config)
    loaded = load(f"timm:{name}:{tmp_path / 'net.pth'}")
    picture = photo(260, 320)
    expected = timm.data.create_transform(**config)(picture)
    torch.testing.assert_close(seen(picture, loaded.description.preprocessing), expected, rtol=0, atol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(expected[None]), network(expected[None]), rtol=1e-4, atol=1e-5)
    assert loaded.description.classes[207] == "golden retriever"
    assert loaded.description.classes[:2] == ("tench", "goldfish")


def test_timms_networks_have_the_classes_of_their_weights(tmp_path: Path) -> None:
    network = timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=3)
    torch.save({"state_dict": {f"module.{key}": value for key, value in network.state_dict().items()}}, tmp_path / "n")
    assert load(f"timm:mobilenetv3_small_050:{tmp_path / 'n'}").description.classes == ("class 0", "class 1", "class 2")
    features = timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=0)
    torch.save(features.state_dict(), tmp_path / "n")
    loaded = load(f"timm:mobilenetv3_small_050:{tmp_path / 'n'}")
    assert loaded.description.classes == ()
    image = torch.zeros(2, *loaded.description.input_shape)
    captured = capture(loaded.network, image, ["conv_stem"], logits=True)
    assert captured.logits is not None
    assert captured.logits.shape == (2, 0)


def test_timms_networks_take_arguments(tmp_path: Path) -> None:
    network = timm.create_model("vit_tiny_patch16_224", img_size=32, in_chans=1, num_classes=4, depth=1)
    torch.save(network.state_dict(), tmp_path / "n.pth")
    loaded = load(
        f"timm:vit_tiny_patch16_224:{tmp_path / 'n.pth'} arguments.img_size=32 arguments.in_chans=1 arguments.depth=1"
    )
    assert loaded.description.input_shape == (1, 32, 32)
    assert len(loaded.description.classes) == 4


def test_timms_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="timm has no model called 'resnet188': did you mean resnet18"):
        load("timm:resnet188:net.pth")
    with pytest.raises(ModelError, match="timm publishes no weights for 'resnet18', give a file"):
        load("resnet18:timm")

    def no_network(*_args: Any, **_options: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    def fetch(*_args: Any, **_options: Any) -> None:
        raise AssertionError("timm's own attempts take 90 seconds")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(timm, "create_model", fetch)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(ModelError, match=r"could not be fetched \(.*not known\).*serve timm:resnet18:FILE"):
        load("timm:resnet18")


# transformers


def saved(folder: Path, network: str, config: Any, processor: str, **options: Any) -> Any:
    torch.manual_seed(0)
    made = getattr(transformers, network)(config).eval()
    made.save_pretrained(folder, max_shard_size=options.pop("shards", "1GB"))
    getattr(transformers, processor)(**options).save_pretrained(folder)
    return made


@pytest.mark.parametrize(
    ("processor", "options"),
    [
        ("ViTImageProcessor", {"size": {"height": 32, "width": 32}}),
        ("CLIPImageProcessor", {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 32}, "crop_pct": 0.8}),
        ("ViTImageProcessor", {"size": {"height": 32, "width": 32}, "do_normalize": False, "do_rescale": False}),
    ],
)
def test_a_folder_of_transformers_is_served_as_its_processor_says(
    processor: str, options: dict[str, Any], tmp_path: Path
) -> None:
    config = transformers.ViTConfig(**VIT, id2label={0: "cat", 1: "dog", 2: "bird"})
    network = saved(tmp_path, "ViTForImageClassification", config, processor, **options)
    loaded = load(f"transformers:{tmp_path}")
    assert loaded.description.classes == ("cat", "dog", "bird")
    picture = photo()
    transform = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    expected = torch.as_tensor(np.asarray(transform(picture)["pixel_values"][0])).float()
    scale = float(expected.abs().max())
    torch.testing.assert_close(seen(picture, loaded.description.preprocessing), expected, rtol=0, atol=0.02 * scale)
    with torch.inference_mode():
        captured = capture(loaded.network, expected[None], ["vit.layernorm"], logits=True)
        torch.testing.assert_close(captured.logits, network(expected[None]).logits)


@pytest.mark.parametrize(
    ("network", "config", "layer"),
    [
        ("ViTModel", ("ViTConfig", VIT), "layernorm"),
        ("Dinov2Model", ("Dinov2Config", {k: v for k, v in VIT.items() if k != "intermediate_size"}), "layernorm"),
        (
            "CLIPModel",
            ("CLIPConfig", {"vision_config": VIT, "text_config": TEXT, "projection_dim": 8}),
            "visual_projecti",
        ),
        ("SiglipModel", ("SiglipConfig", {"vision_config": VIT, "text_config": TEXT}), "post_layernorm"),
    ],
)
def test_networks_without_classes_are_served_without_predictions(
    network: str, config: tuple[str, dict[str, Any]], layer: str, tmp_path: Path
) -> None:
    made = getattr(transformers, config[0])(**config[1])
    saved(tmp_path, network, made, "ViTImageProcessor", size={"height": 32, "width": 32})
    loaded = load(f"transformers:{tmp_path}")
    assert loaded.description.classes == ()
    assert any(layer in each.path for each in loaded.description.layers)


def test_weights_of_transformers_in_parts_and_in_bin_are_the_same_network(tmp_path: Path) -> None:
    config = transformers.ViTConfig(**VIT)
    size = {"height": 32, "width": 32}
    network = saved(
        tmp_path / "parts", "ViTForImageClassification", config, "ViTImageProcessor", size=size, shards="50KB"
    )
    assert (tmp_path / "parts" / "model.safetensors.index.json").is_file()
    saved(tmp_path / "bin", "ViTForImageClassification", config, "ViTImageProcessor", size=size)
    torch.save(network.state_dict(), tmp_path / "bin" / "pytorch_model.bin")
    (tmp_path / "bin" / "model.safetensors").unlink()
    versions = {load(f"transformers:{tmp_path / each}").description.version for each in ("parts", "bin")}
    assert len(versions) == 1


def test_transformers_refusals(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is no folder with a config\.json"):
        load(f"transformers:{tmp_path}")
    config = transformers.ViTConfig(**VIT)
    saved(tmp_path, "ViTModel", config, "ViTImageProcessor", size={"height": 32, "width": 32})
    text = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(text | {"architectures": ["ViTForImageClassification"]}))
    with pytest.raises(ModelError, match=r"do not fit ViTForImageClassification: 2 are missing .*\(classifier\.bias"):
        load(f"transformers:{tmp_path}")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "my_own", "auto_map": {"AutoConfig": "x.Y"}}))
    with pytest.raises(ModelError, match=r"cannot read .*/config\.json|my_own"):
        load(f"transformers:{tmp_path}")


# torch.export


def test_an_exported_program_has_the_layers_of_its_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = import_torchvision().models.squeezenet1_1(num_classes=5).eval()
    batch = ({0: torch.export.Dim("images")},)
    images = torch.randn(2, 3, 64, 64)
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=batch), tmp_path / "net.pt2")
    loaded = load(f"export:{tmp_path / 'net.pt2'} resize=64 crop=64")
    assert len(loaded.description.classes) == 5
    images = torch.randn(3, 3, 64, 64)
    layer = "features.7"
    ours, theirs = (
        capture(each, images, [layer], logits=True, gradients=[layer]) for each in (loaded.network, network)
    )
    torch.testing.assert_close(ours.layers[layer], theirs.layers[layer])
    torch.testing.assert_close(ours.logits, theirs.logits)
    gradients = [torch.autograd.grad(each.logits.sum(), each.layers[layer])[0] for each in (ours, theirs)]
    torch.testing.assert_close(*gradients)
    with pytest.raises(ModelError, match=r"takes no image of \[3, 32, 32\]"):
        load(f"export:{tmp_path / 'net.pt2'} resize=32 crop=32")


class Two(nn.Module):
    """A network of two inputs."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


def test_programs_that_cannot_be_served_say_why(tmp_path: Path) -> None:
    one, image = nn.Linear(2, 2), torch.zeros(1, 2)
    torch.export.save(torch.export.export(one, (image,)), tmp_path / "one.pt2")
    torch.export.save(torch.export.export(Two(), (image, image)), tmp_path / "two.pt2")
    torch.save(one.state_dict(), tmp_path / "state.pt2")
    sentences = {
        "one.pt2": "was exported for batches of 1",
        "two.pt2": "takes 2 inputs",
        "state.pt2": "is no exported program",
        "none.pt2": "there is no file",
    }
    for file, sentence in sentences.items():
        with pytest.raises(ModelError, match=sentence):
            load(f"export:{tmp_path / file} resize=8 crop=8")


# torchvision


def test_a_network_of_ones_own_training_is_not_given_torchvisions_normalization(tmp_path: Path) -> None:
    state = import_torchvision().models.googlenet(num_classes=3, aux_logits=True, init_weights=False).state_dict()
    torch.save(state, tmp_path / "own.pth")
    small = "resize=64 crop=64"
    assert load(f"googlenet:{tmp_path / 'own.pth'} {small}").network.transform_input is False
    asked = load(f"googlenet:{tmp_path / 'own.pth'} {small} arguments.transform_input=true")
    assert asked.network.transform_input is True


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("r3d_18", "takes videos"),
        ("raft_small", "takes two images"),
        ("quantized_resnet18", "is quantized"),
    ],
)
def test_torchvisions_other_networks_are_refused_by_what_they_are(name: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        load(f"{name}:net.pth")


def test_segmenters_and_networks_that_compute_when_built_are_served(tmp_path: Path) -> None:
    models = import_torchvision().models
    torch.save(models.get_model("regnet_y_400mf", num_classes=4).state_dict(), tmp_path / "regnet.pth")
    assert len(load(f"regnet_y_400mf:{tmp_path / 'regnet.pth'} resize=64 crop=64").description.classes) == 4
    segmenter = models.get_model("lraspp_mobilenet_v3_large", weights_backbone=None, num_classes=3)
    torch.save(segmenter.state_dict(), tmp_path / "lraspp.pth")
    loaded = load(f"lraspp_mobilenet_v3_large:{tmp_path / 'lraspp.pth'} resize=96 crop=64,96")
    assert loaded.description.classes == ()
    assert loaded.description.region_classes == ("class 0", "class 1", "class 2")
    assert loaded.description.input_shape == (3, 64, 96)


def test_detectors_are_served_with_the_preprocessing_that_they_do_themselves(tmp_path: Path) -> None:
    models = import_torchvision().models
    detector = models.get_model("ssdlite320_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=3)
    torch.save(detector.state_dict(), tmp_path / "ssdlite.pth")
    (tmp_path / "names.txt").write_text("background\ncat\ndog\n")
    description = load(f"ssdlite320_mobilenet_v3_large:{tmp_path}/ssdlite.pth classes={tmp_path}/names.txt").description
    assert description.box_classes == ("background", "cat", "dog")
    assert (description.classes, description.outputs) == ((), 0)
    made, own = description.preprocessing, detector.transform
    assert made.resize == made.crop == own.fixed_size
    assert [*made.mean, *made.std] == [*own.image_mean, *own.image_std]
    assert description.layer_by_name["backbone.features.0.0"].grid == (160, 160)


# Factories: the example of docs/models.md

EXAMPLE = """
from torch import nn


def small(width: int = 16, classes: int = 10) -> nn.Module:
    convolution = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU())
    return nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))
"""


def test_the_documented_factory_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    assert EXAMPLE.strip() in page
    (tmp_path / "my_networks.py").write_text(EXAMPLE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_networks  # type: ignore[import-not-found]

    torch.save(my_networks.small(32, 2).state_dict(), tmp_path / "mine.pth")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    loaded = load(
        f"my_networks:small:{tmp_path / 'mine.pth'} classes={tmp_path / 'names.txt'} resize=36 crop=32 "
        "arguments.width=32 arguments.classes=2"
    )
    assert loaded.description.classes == ("cat", "dog")
    built = load("my_networks:small:built resize=36 crop=32")
    assert len(built.description.classes) == 10
    for text, sentence in {
        f"my_networks:small:{tmp_path / 'mine.pth'} resize=36 crop=32 arguments.depth=3": "unexpected keyword",
        "my_networks:EXAMPLE:built resize=36 crop=32": "cannot be imported",
        "resnet18:built": "only a factory's network is served as it was built",
    }.items():
        with pytest.raises(ModelError, match=sentence) as refused:
            load(text)
        assert len(str(refused.value)) <= 300


class Answers(nn.Module):
    """A network that answers as `answer` makes of its logits."""

    def __init__(self, kind: str, classes: int = 4) -> None:
        super().__init__()
        self.conv, self.fc, self.kind = nn.Conv2d(3, 4, 3), nn.Linear(4, classes), kind

    def forward(self, x: Tensor) -> Any:
        maps = self.conv(x)
        logits = self.fc(maps.mean((2, 3)))
        return {
            "plain": logits,
            "dict": {"aux": maps, "out": logits},
            "tuple": (maps, logits),
            "squeezed": logits[:, 0],
            "maps": {"out": maps},
            "features": {"pooler_output": logits},
            "boxes": [{"boxes": maps}],
            "nothing": None,
        }[self.kind]


@pytest.mark.parametrize(
    ("kind", "classes", "activation"),
    [
        ("plain", 4, "softmax"),
        ("dict", 4, "softmax"),
        ("tuple", 4, "softmax"),
        ("squeezed", 1, "sigmoid"),
        ("maps", 0, "softmax"),
        ("features", 0, "softmax"),
    ],
)
def test_outputs_are_read_whatever_holds_them(
    kind: str, classes: int, activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    description = load(f"test_sources:Answers:built resize=8 crop=8 arguments.kind={kind}").description
    assert (len(description.classes), description.activation) == (classes, activation)


@pytest.mark.parametrize(("kind", "sentence"), [("boxes", "answers with boxes"), ("nothing", "without any tensor")])
def test_outputs_that_say_nothing_are_refused(kind: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with pytest.raises(ModelError, match=sentence):
        load(f"test_sources:Answers:built resize=8 crop=8 arguments.kind={kind}")
    with pytest.raises(ModelError, match="takes several inputs"):
        load("test_sources:Two:built resize=8 crop=8")


def test_sizes_and_channels_are_checked_before_anything_is_built() -> None:
    for wrong, sentence in {
        "resize=10 crop=20": "must be at least crop",
        "resize=30,10 crop=20": "must be at least crop",
        "resize=30 crop=20 mean=0.5 std=0.5,0.5": "mean has 1 channels, and std 2",
        "resize=30 crop=20 mean=0.5 std=0": "std must be greater than 0",
        "resize=30 crop=100000": "less than or equal to 4096",
        "sesize=30": "Extra inputs are not permitted",
    }.items():
        with pytest.raises(ValueError, match=sentence):
            ModelSettings.parse(f"net=resnet18:net.pth {wrong}")
    assert PreprocessingSettings(resize=30, crop=(20, 30)).crop == (20, 30)


def test_torchvisions_transformers_see_pictures_of_the_size_that_they_were_trained_on(tmp_path: Path) -> None:
    """torchvision's own default, for vit_h_14 518, is of other weights."""
    network = import_torchvision().models.vit_b_32(image_size=64, num_classes=3)
    torch.save({"model": {f"module.{key}": value for key, value in network.state_dict().items()}}, tmp_path / "v.pth")
    settings = ModelSettings(name="v", architecture="vit_b_32", weights=str(tmp_path / "v.pth"))
    weights = read_weights(settings.weights)
    shown = torchvision.metadata(settings, weights).preprocessing
    assert shown is not None
    assert (shown.resize, shown.crop) == (64, 64)
    built = torchvision.find(settings).build(weights)
    assert {key: value.shape for key, value in built.state_dict().items()} == {
        key: value.shape for key, value in network.state_dict().items()
    }
