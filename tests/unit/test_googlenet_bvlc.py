"""The original GoogLeNet computes what its weights' makers computed, and says what the photographs show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import preprocess
from PIL import Image
from striate_service.config import ModelSettings
from striate_service.models.layers import capture
from striate_service.models.loading import LoadedModel, load_model
from striate_service.models.response_norm import LocalResponseNorm

BLOCKS = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")


@pytest.fixture(scope="module")
def googlenet(shared: Path) -> LoadedModel:
    file = shared / "models" / "googlenet_bvlc_imagenet.safetensors"
    return load_model(ModelSettings(name="googlenet", architecture="googlenet_bvlc", weights=str(file)))


def test_it_computes_the_reference(googlenet: LoadedModel, shared: Path) -> None:
    reference = np.load(shared / "reference" / "googlenet_bvlc_check.npz")
    torch.manual_seed(0)
    images = torch.randn(2, 3, 224, 224)
    paths = [googlenet.description.layer_by_name[f"mixed{block}"].path for block in BLOCKS]
    with torch.inference_mode():
        found = capture(googlenet.network, images, paths, logits=True)
    assert found.logits is not None
    for block, path in zip(BLOCKS, paths, strict=True):
        expected = reference[f"mixed{block}_mean"]
        got = found.layers[path].mean((2, 3)).numpy()
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    scale = np.abs(reference["logits"]).max()
    np.testing.assert_allclose(found.logits.numpy(), reference["logits"], rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        ("bowtie_guy.jpeg", {"bow tie": 0.93}),
        ("cat_720p.jpg", {"Egyptian cat": 0.57, "tabby": 0.24}),
        ("dog_cat.jpeg", {"golden retriever": 0.42, "Labrador retriever": 0.32}),
        ("hot_dog.jpg", {"hotdog": 0.99}),
        ("parrot.jpg", {"macaw": 1.0}),
    ],
)
def test_it_sees_what_the_photographs_show(
    googlenet: LoadedModel, shared: Path, photo: str, expected: dict[str, float]
) -> None:
    image = np.asarray(Image.open(shared / "photos" / photo).convert("RGB"))
    with torch.inference_mode():
        probabilities = googlenet.network(preprocess(image)).softmax(1)[0]
    best = probabilities.argsort(descending=True)[: len(expected)].tolist()
    assert [googlenet.description.classes[index] for index in best] == list(expected)
    # The reference's crop of the cat lies a pixel beside torchvision's, which moves its probability by 0.08.
    assert probabilities[best].tolist() == pytest.approx(list(expected.values()), abs=0.1 if "cat_" in photo else 0.01)


def test_its_layers_have_the_articles_names(googlenet: LoadedModel) -> None:
    layers = googlenet.description.layer_by_name
    assert layers["mixed4d"].path == "inception4d"
    assert layers["mixed4d"].shape == (528, 14, 14)
    assert [layers[f"conv2d{number}"].path for number in range(3)] == ["conv1", "conv2_reduce", "conv2"]
    assert layers["conv2d0"].shape == (64, 112, 112)


@pytest.mark.parametrize("channels", [3, 64])
def test_its_normalization_has_the_gradients_of_torchs(channels: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, channels, 5, 4).mul(50).requires_grad_()
    upstream = torch.randn_like(x)
    ours, torchs = LocalResponseNorm(5, alpha=1e-2, k=2.0), torch.nn.LocalResponseNorm(5, alpha=1e-2, beta=0.75, k=2.0)
    torch.testing.assert_close(ours(x), torchs(x))
    found, expected = (torch.autograd.grad(norm(x), x, upstream)[0] for norm in (ours, torchs))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(ours(x.detach()), torchs(x.detach()), rtol=0, atol=0)
