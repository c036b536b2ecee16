"""A model is built from whatever source its settings name, and what cannot be loaded is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from striate_service.config import EMBEDDED, ModelSettings, PreprocessingSettings
from striate_service.models.embedded import CLASSES, PREPROCESSING, WEIGHTS
from striate_service.models.loading import ModelError, load_model
from striate_service.models.sources import SOURCES, source_of
from striate_service.models.torchvision_compat import import_torchvision
from torch import Tensor, nn

SMALL = PreprocessingSettings(resize=64, crop=64)


def net() -> nn.Module:
    """Called by load_model, as the factory test_loading:net."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return "test_loading:net"


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    state: dict[str, Tensor] = import_torchvision().models.squeezenet1_0(num_classes=5).state_dict()
    return state


def model(architecture: str, weights: object, **changes: object) -> ModelSettings:
    return ModelSettings(name="net", architecture=architecture, weights=str(weights), **changes)


def test_each_architecture_belongs_to_one_source() -> None:
    own = ("parts", "googlenet_bvlc", "efficientnet_lite0")
    names = (*own, "timm:resnet18", "transformers", "export", "package.module:factory", "resnet18")
    assert [source_of(model(name, "file.pth")) for name in names] == list(SOURCES)


def test_the_embedded_model_tells_its_classes_and_preprocessing_also_of_a_file() -> None:
    for settings in (EMBEDDED, model("parts", WEIGHTS)):
        description = load_model(settings).description
        assert (description.classes, description.preprocessing) == (CLASSES, PREPROCESSING)


@pytest.mark.parametrize("key", ["", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_state_dicts_are_found_in_checkpoints_and_without_prefixes(
    key: str, prefix: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    saved = {prefix + name: value for name, value in state.items()}
    torch.save({key: saved, "epoch": 3} if key else saved, tmp_path / "saved.pth")
    loaded = load_model(model("squeezenet1_0", tmp_path / "saved.pth", preprocessing=SMALL))
    assert loaded.description.classes == tuple(f"class {index}" for index in range(5))
    for name, value in loaded.network.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)


def test_a_file_of_torchvisions_architecture_has_its_preprocessing(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "saved.pth")
    preprocessing = load_model(model("squeezenet1_0", tmp_path / "saved.pth")).description.preprocessing
    assert (preprocessing.resize, preprocessing.crop, preprocessing.interpolation) == (256, 224, "bilinear")


def test_a_factory_builds_a_network_that_needs_preprocessing(factory: str, tmp_path: Path) -> None:
    torch.save(net().state_dict(), tmp_path / "net.pth")
    with pytest.raises(ModelError, match="net: nothing tells how to preprocess images for test_loading:net"):
        load_model(model(factory, tmp_path / "net.pth"))
    loaded = load_model(model(factory, tmp_path / "net.pth", preprocessing=SMALL))
    assert len(loaded.description.classes) == 3


@pytest.mark.parametrize(
    ("architecture", "weights", "sentence"),
    [
        ("resnet8", "torchvision", "torchvision has no network called 'resnet8': did you mean resnet18"),
        ("zzzz", "torchvision", "'zzzz': use package.module:factory for one of your own"),
        ("nowhere:net", "net.pth", "the architecture 'nowhere:net' cannot be imported: No module named 'nowhere'"),
        ("test_loading:no", "net.pth", "the architecture 'test_loading:no' cannot be imported"),
        ("parts", "torchvision", "torchvision publishes no weights for 'parts', give a file"),
        ("test_loading:net", "torchvision", "torchvision publishes no weights for 'test_loading:net', give a file"),
        ("resnet18", "embedded", "net: only the architectures 'parts' and 'parts_vit' have embedded weights"),
        ("test_loading:net", "embedded", "net: only the architectures 'parts' and 'parts_vit' have embedded weights"),
        ("resnet18", "nowhere.pth", "net: there is no weights file nowhere.pth"),
        ("resnet18", __file__, "cannot be read as weights"),
        ("resnet18", WEIGHTS, "do not fit resnet18"),
    ],
)
@pytest.mark.usefixtures("factory")
def test_what_cannot_be_loaded_says_why(architecture: str, weights: object, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        load_model(model(architecture, weights))


def test_a_file_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="holds no state dict"):
        load_model(model("resnet18", tmp_path / "list.pth"))


def test_class_names_are_read_from_a_file_and_counted(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "saved.pth")
    names = tmp_path / "names.txt"
    settings = model("squeezenet1_0", tmp_path / "saved.pth", preprocessing=SMALL, classes=names)
    with pytest.raises(ModelError, match="net: the class names cannot be read"):
        load_model(settings)
    names.write_text("a\nb\nc\n")
    with pytest.raises(ModelError, match=r"names\.txt names 3 classes, but net has 5"):
        load_model(settings)
    names.write_text("a\nb\n\nc\nd\ne\n")
    assert load_model(settings).description.classes == ("a", "b", "c", "d", "e")
    names.write_bytes(b"\xef\xbb\xbftench\r\nb\r\nc\r\nd\r\ne\r\n")
    assert load_model(settings).description.classes[0] == "tench", "without the byte order mark of an editor"
    for encoding in ("latin-1", "utf-16", "utf-16-le"):
        names.write_text("rö\nb\nc\nd\ne", encoding=encoding)
        with pytest.raises(ModelError, match=r"names\.txt .*save it as UTF-8"):
            load_model(settings)
