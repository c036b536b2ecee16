"""Neuron groups through the service: completeness of effects, scikit-learn's groups, and activations from elsewhere."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import striate
import torch
from conftest import preprocess
from PIL import Image
from sklearn.decomposition import NMF
from striate.calls.factorize import FactorizeCall, read_factorization
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceStub
from striate_service.local import LocalServer
from striate_service.techniques.sobol import masks, total_indices


def test_effects_and_residual_add_up_to_gradient_times_activation(
    client: striate.Client, squeezenet: torch.nn.Module, shared: Path
) -> None:
    found = client.factorize(
        [shared / "photos" / name for name in ("dog_cat.jpeg", "bowtie_guy.jpeg")],
        "features.7",
        model="squeezenet",
        classes=["golden retriever", "tabby", "bow tie"],
        icons=False,
    )
    names = list(client.model("squeezenet").classes)
    for number, name in enumerate(("dog_cat.jpeg", "bowtie_guy.jpeg")):
        image = np.asarray(Image.open(shared / "photos" / name).convert("RGB"))
        layer = squeezenet.features[:8](preprocess(image)).requires_grad_()
        logits = squeezenet.classifier(squeezenet.features[8:](layer)).flatten()
        for m, class_name in enumerate(found.classes):
            (gradient,) = torch.autograd.grad(logits[names.index(class_name)], layer, retain_graph=True)
            whole = float((gradient * layer).sum())
            ours = float(found.effects[number, :, m].sum() + found.residual_effects[number, m])
            assert ours == pytest.approx(whole, rel=1e-4, abs=1e-4 * float((gradient * layer).abs().sum()))


def test_fidelity_is_what_a_hook_that_replaces_the_layer_finds(
    client: striate.Client, squeezenet: torch.nn.Module, shared: Path
) -> None:
    files = [shared / "photos" / name for name in ("dog_cat.jpeg", "bowtie_guy.jpeg", "parrot.jpg")]
    names = list(client.model("squeezenet").classes)
    for layer, module in (("features.7", squeezenet.features[7]), ("features.12", squeezenet.features[12])):
        found = client.factorize(files, layer, model="squeezenet", components=3, icons=False)
        inputs = torch.cat([preprocess(np.asarray(Image.open(file).convert("RGB"))) for file in files])
        own = squeezenet(inputs).double().softmax(1)
        replacement = torch.from_numpy((found.spatial @ found.directions).transpose(0, 3, 1, 2).copy())
        handle = module.register_forward_hook(lambda *_, replacement=replacement: replacement.clone())
        then = squeezenet(inputs).double().softmax(1)
        handle.remove()
        divergences = (own * (own.log() - then.log())).sum(1)
        ours = [each.kl_divergence for each in found.fidelity]
        np.testing.assert_allclose(ours, divergences, rtol=1e-3, atol=1e-4)
        assert [each.same_top_class for each in found.fidelity] == (own.argmax(1) == then.argmax(1)).tolist()
        for each, predicted, expected in zip(found.fidelity, found.predictions, then, strict=True):
            numbers = [names.index(name) for name, _ in predicted]
            np.testing.assert_allclose(each.probabilities, expected[numbers], rtol=1e-3, atol=1e-5)
    without = client.factorize(files[0], "features.7", model="squeezenet", classes=0, icons=False)
    assert without.fidelity == []


def test_the_number_of_groups_is_chosen_and_the_curve_says_why(client: striate.Client, photo: np.ndarray) -> None:
    found = client.factorize(photo, "mixed4a", components=0, icons=False)
    assert [choice.components for choice in found.choices] == list(range(1, 17))
    explained = [choice.explained_variance for choice in found.choices]
    assert explained == sorted(explained)
    chosen = found.choices[len(found.groups) - 1]
    assert chosen.relative_error == pytest.approx(found.relative_error, rel=1e-3)
    assert chosen.explained_variance == pytest.approx(1 - found.relative_error**2, rel=1e-3)
    asked = client.factorize(photo, "mixed4a", components=len(found.groups), icons=False)
    np.testing.assert_allclose(asked.spatial, found.spatial, atol=1e-4 * found.spatial.max())


def test_crops_are_cut_where_the_group_is_strongest(client: striate.Client, photos: list[np.ndarray]) -> None:
    found = client.factorize(photos[:2], "mixed4a", components=3, icons=False)
    for k, group in enumerate(found.groups):
        first = group.crops[0]
        assert first.strength == pytest.approx(float(found.spatial[..., k].max()))
        image, row, column = np.unravel_index(found.spatial[..., k].argmax(), found.spatial.shape[:3])
        left, top, right, bottom = first.box
        view = found.views[image]
        assert first.image == image
        x = view.crop[0] + (column + 0.5) / 14 * (view.crop[2] - view.crop[0])
        y = view.crop[1] + (row + 0.5) / 14 * (view.crop[3] - view.crop[1])
        assert left < x < right
        assert top < y < bottom
        cut = np.asarray(found.crops(k)[0])
        original = photos[image][round(top) : round(bottom), round(left) : round(right)]
        np.testing.assert_array_equal(cut, original)


def test_sobol_indices_are_those_of_the_networks_remainder(
    client: striate.Client, squeezenet: torch.nn.Module, shared: Path
) -> None:
    found = client.factorize(
        shared / "photos" / "dog_cat.jpeg",
        "features.12",
        model="squeezenet",
        components=3,
        classes=["golden retriever", "tabby"],
        sobol_points=8,
        icons=False,
    )
    outputs = (found.spatial[0] * masks(8, 3)[:, None, None]) @ found.directions
    logits = squeezenet.classifier(torch.from_numpy(outputs.transpose(0, 3, 1, 2).copy())).flatten(1).numpy()
    names = [client.model("squeezenet").classes.index(name) for name in found.classes]
    assert found.sobol_indices is not None
    np.testing.assert_allclose(found.sobol_indices[0], total_indices(logits[:, names], 3), atol=1e-3)
    assert found.groups[1].sobol_indices["tabby"] == pytest.approx(found.sobol_indices[0, 1, 1])


def test_where_logits_are_linear_in_groups_an_index_is_the_square_of_the_effect(
    client: striate.Client, photos: list[np.ndarray]
) -> None:
    found = client.factorize(photos[:2], "mixed5b", components=4, classes=2, sobol_points=256, icons=False)
    squares = found.effects**2  # mixed5b is only averaged and weighed
    assert found.sobol_indices is not None
    np.testing.assert_allclose(found.sobol_indices, squares / squares.sum(1, keepdims=True), atol=0.03)


def test_groups_are_scikit_learns(client: striate.Client, photos: list[np.ndarray]) -> None:
    activations = client.activations(photos[:2], "mixed4a")["mixed4a"]
    found = client.factorize(activations=activations, components=4)
    x = activations.transpose(0, 2, 3, 1).reshape(-1, activations.shape[1]).astype(np.float64)
    model = NMF(4, init="nndsvd", tol=1e-6, max_iter=1000)
    w = model.fit_transform(x)
    error = np.linalg.norm(x - w @ model.components_) / np.linalg.norm(x)
    assert found.relative_error <= 1.001 * error
    correlations = np.corrcoef(w.T, found.spatial.reshape(-1, 4).T)[:4, 4:]
    assert correlations.max(1).min() > 0.99
    assert found.groups[0].icon is None
    assert found.groups[0].effects == {}


def test_images_and_their_activations_give_the_same_groups(client: striate.Client, photos: list[np.ndarray]) -> None:
    of_images = client.factorize(photos[:2], "mixed4a", components=3, icons=False)
    activations = client.activations(photos[:2], "mixed4a")["mixed4a"]
    of_activations = client.factorize(activations=activations, components=3)
    np.testing.assert_allclose(of_images.spatial, of_activations.spatial, atol=1e-3 * of_images.spatial.max())
    np.testing.assert_allclose(of_images.directions, of_activations.directions, atol=1e-3)


def test_the_same_question_has_the_same_answer(client: striate.Client, photo: np.ndarray) -> None:
    first, second = (client.factorize(photo, "mixed4b", components=5, icons=False) for _ in range(2))
    np.testing.assert_array_equal(first.spatial, second.spatial)
    assert first.groups == second.groups
    assert list(first.overlays) == list(second.overlays)


def test_a_group_has_a_color_an_icon_an_importance_and_its_channels(client: striate.Client, photo: np.ndarray) -> None:
    found = client.factorize(photo, "conv2", components=3, classes=2, wait_for_icons=True)
    assert len({group.color for group in found.groups}) == 3
    assert [group.importance for group in found.groups] == sorted((g.importance for g in found.groups), reverse=True)
    for k, group in enumerate(found.groups):
        assert group.icon is not None
        assert group.channels[0] == found.directions[k].argmax()
        assert list(group.effects) == found.classes
    assert found.images[0] is not None
    assert found.overlay(0).size == found.images[0].size


def test_overlays_are_sent_to_callers_who_do_not_draw_themselves(server: LocalServer, photo: np.ndarray) -> None:
    """As every caller was, before there was `omit_overlays`."""
    request = FactorizeCall(images=[photo, photo], layer="mixed5b", components=2, classes=0, icons=False).request()
    with grpc.insecure_channel(server.target) as channel:
        stub = InterpretabilityServiceStub(channel)
        drawn = stub.Factorize(request, timeout=60)
        request.omit_overlays = False
        sent = stub.Factorize(request, timeout=60)
    assert (len(drawn.overlays), len(sent.overlays)) == (0, 2)
    assert drawn.overlay_scale == sent.overlay_scale > 0
    theirs = np.asarray(Image.open(io.BytesIO(sent.overlays[0])).convert("RGB"), float)
    assert theirs.shape == (112, 112, 3)
    ours = read_factorization(drawn, [photo, photo], None).overlay(1).resize((112, 112))
    assert np.abs(np.asarray(ours.convert("RGB"), float) - theirs).mean() < 8, "the same picture, but for its size"


def test_animals_are_separated_from_the_background(client: striate.Client, shared: Path) -> None:
    found = client.factorize(shared / "photos" / "dog_cat.jpeg", "features.12", model="squeezenet", icons=False)
    assert found.predictions[0][0][0] == "golden retriever"
    strength = found.spatial[0].sum(2) / found.spatial[0].sum(2).max()
    dog, kitten, dark_corner = strength[0:5, 0:5], strength[4:7, 8:11], strength[0:3, 7:13]
    assert dog.mean() > 3 * dark_corner.mean()
    assert kitten.mean() > 3 * dark_corner.mean()
    assert found.spatial[0, 0:5, 0:5].mean((0, 1)).argmax() != found.spatial[0, 4:7, 8:11].mean((0, 1)).argmax()


SIGNED = "mixed4a.one.bn"


def test_negative_activations_are_factorized_as_they_are(client: striate.Client) -> None:
    activations = np.random.default_rng(0).normal(size=(1, 8, 5, 5)).astype(np.float32)
    x = activations.transpose(0, 2, 3, 1)
    found = client.factorize(activations=activations, components=2)
    rectified = client.factorize(activations=activations, components=2, rectify=True)
    same = client.factorize(activations=activations.clip(0), components=2)
    assert (found.method, rectified.method, same.method) == ("semi_nmf", "nmf", "nmf")
    assert found.spatial.min() >= 0 > found.directions.min()
    assert found.convergence is not None
    assert found.convergence.iterations > 0
    assert not found.convergence.ran_out
    np.testing.assert_allclose(
        rectified.spatial @ rectified.directions, same.spatial @ same.directions, atol=1e-5 * x.max()
    )
    for each in (found, rectified):
        error = np.linalg.norm(x - each.spatial @ each.directions) / np.linalg.norm(x)
        assert each.relative_error == pytest.approx(error, rel=1e-4)
    with pytest.raises(striate.InvalidArgument, match=r"negative values.*rectify"):
        client.factorize(activations=activations, components=2, method="nmf")
    with pytest.raises(striate.InvalidArgument, match=r"rectify.*goes with NMF"):
        client.factorize(activations=activations, components=2, method="pca", rectify=True)


@pytest.mark.parametrize("method", ["pca", "fast_ica", "k_means", "dictionary_learning"])
def test_scikit_learns_methods_answer_with_the_same_fields(
    client: striate.Client, photo: np.ndarray, method: Any
) -> None:
    found = client.factorize(photo, SIGNED, components=3, method=method, icons=False)
    layer = client.activations(photo, SIGNED)[SIGNED].transpose(0, 2, 3, 1)
    assert found.method == method
    error = np.linalg.norm(layer - found.spatial @ found.directions) / np.linalg.norm(layer)
    assert found.relative_error == pytest.approx(error, rel=1e-3)
    assert (found.spatial.min() < 0) == (method in ("pca", "fast_ica"))
    assert (found.convergence is None) == (method == "pca")
    assert found.effects.shape == (1, 3, 5)
    assert found.images[0] is not None
    assert found.overlay(0).size == found.images[0].size


def test_a_basis_of_a_signed_layer_is_found_again(client: striate.Client, photos: list[np.ndarray]) -> None:
    try:
        first = client.factorize(photos[0], SIGNED, components=4, save_as="signed", icons=False)
        again = client.factorize(photos[0], basis="signed", icons=False)
        assert client.basis("signed", icons=False).method == "semi_nmf"
        assert again.relative_error <= first.relative_error + 1e-4
        np.testing.assert_array_equal(again.directions, first.directions)
        assert again.method == "semi_nmf"
        assert again.convergence is None
        with pytest.raises(striate.InvalidArgument, match=r"method.*that of the basis"):
            client.factorize(photos[0], basis="signed", method="pca", icons=False)
    finally:
        client.delete_basis("signed")


def test_a_method_that_there_is_not_is_refused(server: LocalServer, photo: np.ndarray) -> None:
    call = FactorizeCall(images=photo, layer="mixed4a", icons=False)
    request = call.request()
    request.method = 99  # type: ignore[assignment]
    with grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError) as refused:
        InterpretabilityServiceStub(channel).Factorize(request)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "NMF, SEMI_NMF" in refused.value.details()
