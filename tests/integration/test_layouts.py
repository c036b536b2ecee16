"""Layers of every layout through a real server: against hooks, autograd and finite sums of plain torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import striate
import tiny_networks
import torch
from conftest import settings
from striate_service.config import ModelSettings
from striate_service.local import LocalServer
from striate_service.models.embedded import CLASSES
from striate_service.models.embedded.pictures import draw
from torch import Tensor, nn

_TESTS = str(Path(tiny_networks.__file__).parent)
_SIZE = tiny_networks.SIZE


@dataclass(frozen=True)
class Case:
    """A layer, and how plain torch turns its output [N, ...] into positions [N, C, H, W]."""

    model: str
    layer: str
    prefix: int = 0
    channels_last: bool = False

    def to_map(self, output: Tensor) -> Tensor:
        if output.dim() == 3:  # tokens
            side = int((output.shape[1] - self.prefix) ** 0.5)
            return output[:, self.prefix :].unflatten(1, (side, side)).permute(0, 3, 1, 2)
        return output.permute(0, 3, 1, 2) if self.channels_last else output


CASES = [
    Case("vit", "encoder.layers.encoder_layer_0", prefix=1),
    Case("swin", "features.1.1", channels_last=True),
    Case("convnext", "features.1.0.block.3", channels_last=True),
    Case("convnext", "features.1.0"),
]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.model}-{case.layer}")


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    factories = {"vit": tiny_networks.vit, "swin": tiny_networks.swin, "convnext": tiny_networks.convnext}
    return {name: factory().eval().requires_grad_(False) for name, factory in factories.items()}


@pytest.fixture(scope="module")
def layouts(networks: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("layouts")
    models = []
    for name, network in networks.items():
        torch.save(network.state_dict(), folder / f"{name}.pth")
        models.append(
            ModelSettings(
                name=name,
                architecture=f"tiny_networks:{name}",
                weights=str(folder / f"{name}.pth"),
                preprocessing={"resize": _SIZE, "crop": _SIZE},
            )
        )
    models.append(ModelSettings.parse("parts_vit"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", _TESTS, prepend=os.pathsep)
        with LocalServer(settings(folder, models=models)) as running:
            yield running


@pytest.fixture
def client(layouts: LocalServer) -> Iterator[striate.Client]:
    with striate.Client(layouts.target, timeout=120) as connected:
        yield connected


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 3, _SIZE, _SIZE)).astype(np.float32)


def output_and_logits(network: nn.Module, layer: str, inputs: np.ndarray) -> tuple[Tensor, Tensor]:
    """What plain hooks see: the layer's output, to be differentiated by, and the logits."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0].clone()

    handle = network.get_submodule(layer).register_forward_hook(keep)
    logits = network(torch.from_numpy(inputs))
    handle.remove()
    return kept[0], logits


def gradient(case: Case, networks: dict[str, nn.Module], inputs: np.ndarray, number: int) -> tuple[Tensor, Tensor]:
    """Return the layer's map and the gradient of a logit with respect to it, [N, C, H, W]."""
    output, logits = output_and_logits(networks[case.model], case.layer, inputs)
    (found,) = torch.autograd.grad(logits[:, number].sum(), output)
    return case.to_map(output.detach()), case.to_map(found)


@cases
def test_whole_activations_are_what_the_module_returns(
    case: Case, client: striate.Client, networks: dict[str, nn.Module], inputs: np.ndarray
) -> None:
    found = client.activations(list(inputs), case.layer, model=case.model)
    output, _ = output_and_logits(networks[case.model], case.layer, inputs)
    np.testing.assert_allclose(found[case.layer], output.detach(), rtol=1e-5, atol=1e-5)
    (layer,) = found.layers
    maps = case.to_map(output.detach())
    np.testing.assert_allclose(layer.to_map(found[case.layer]), maps, rtol=1e-5, atol=1e-5)
    assert (layer.channels, *layer.grid) == tuple(maps.shape[1:])
    at = client.activations(list(inputs), case.layer, model=case.model, positions=[(0, 1), (3, 2)], channels=[5, 2])
    np.testing.assert_allclose(at[case.layer], maps[:, [5, 2]][:, :, [0, 3], [1, 2]], rtol=1e-5, atol=1e-5)


@cases
def test_a_dictionarys_effects_are_gradient_times_activation(
    case: Case, client: striate.Client, networks: dict[str, nn.Module], inputs: np.ndarray
) -> None:
    found = client.semantic_dictionary(
        inputs[0], case.layer, model=case.model, neurons=3, classes=["class 3"], icons=False
    )
    maps, by = gradient(case, networks, inputs[:1], 3)
    rows, columns = found.positions.T
    np.testing.assert_allclose(found.magnitude, maps[0].norm(dim=0), rtol=1e-4)
    strongest = maps[0].abs().sort(dim=0, descending=True).values[:3].flatten(1).T
    np.testing.assert_allclose(np.abs(found.activations), strongest, rtol=1e-4, atol=1e-5)
    expected = (maps * by)[0].numpy()[found.channels, rows[:, None], columns[:, None]]
    np.testing.assert_allclose(found.effects[..., 0], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_a_class_token_is_explained_beside_positions(
    client: striate.Client, networks: dict[str, nn.Module], inputs: np.ndarray
) -> None:
    layer = "encoder.layers.encoder_layer_0"
    ask = {"image": inputs[0], "layer": layer, "model": "vit", "neurons": 4, "classes": ["class 1"]}
    found = client.semantic_dictionary(**ask, positions=[(1, 2)], prefix_tokens=["cls"], icons=False)
    output, logits = output_and_logits(networks["vit"], layer, inputs[:1])
    (by,) = torch.autograd.grad(logits[0, 1], output)
    (token,) = found.prefix_tokens
    assert token.name == "cls"
    assert token.magnitude == pytest.approx(float(output[0, 0].norm()), rel=1e-4)
    assert token.channels.tolist() == output[0, 0].abs().argsort(descending=True)[:4].tolist()
    np.testing.assert_allclose(token.effects[:, 0], (output * by)[0, 0, token.channels.tolist()].detach(), rtol=1e-3)
    assert [neuron.channel for neuron in found.at_prefix("cls")] == token.channels.tolist()
    assert found.channels.shape == (1, 4)
    by_index = client.activations(inputs[0], layer, model="vit", prefix_tokens=[0], positions=[(1, 2)])[layer]
    np.testing.assert_allclose(
        by_index[0].T, output[0, [0, 1 + 1 * 4 + 2]].detach().numpy()[[1, 0]], rtol=1e-4, atol=1e-5
    )
    for wrong, asked in (("reg0", ask), ("cls", ask | {"layer": "conv_proj"})):
        with pytest.raises(striate.InvalidArgument) as error:
            client.semantic_dictionary(**asked, prefix_tokens=[wrong], icons=False)
        assert any(field.startswith("prefix_tokens") for field in error.value.violations)


@cases
def test_effects_of_groups_and_residual_add_up_to_the_whole(
    case: Case, client: striate.Client, networks: dict[str, nn.Module], inputs: np.ndarray
) -> None:
    found = client.factorize(
        list(inputs[:2]), case.layer, model=case.model, components=3, classes=["class 2"], rectify=True, icons=False
    )
    maps, by = gradient(case, networks, inputs[:2], 2)
    whole = (maps * by).sum((1, 2, 3))
    ours = found.effects.sum(1)[:, 0] + found.residual_effects[:, 0]
    np.testing.assert_allclose(ours, whole, rtol=1e-3, atol=1e-4 * float((maps * by).abs().sum()))
    spatial, directions = torch.from_numpy(found.spatial), torch.from_numpy(found.directions)
    parts = torch.einsum("nhwk,kc->nkchw", spatial, directions)
    effects = torch.einsum("nchw,nkchw->nk", by, parts)
    np.testing.assert_allclose(found.effects[..., 0], effects, rtol=1e-3, atol=1e-4 * float(effects.abs().max()))
    assert found.spatial.shape[1:3] == tuple(maps.shape[2:])


@cases
def test_fidelity_replaces_positions_and_leaves_prefix_tokens(
    case: Case, client: striate.Client, networks: dict[str, nn.Module], inputs: np.ndarray
) -> None:
    network = networks[case.model]
    found = client.factorize(
        list(inputs[:2]), case.layer, model=case.model, components=2, classes=2, rectify=True, icons=False
    )
    maps = torch.from_numpy(np.einsum("nhwk,kc->nhwc", found.spatial, found.directions).copy())

    def replace(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        if output.dim() == 3:
            return torch.cat([output[:, : case.prefix], maps.flatten(1, 2)], 1)
        return maps.clone() if case.channels_last else maps.permute(0, 3, 1, 2).clone()

    own = network(torch.from_numpy(inputs[:2])).double().log_softmax(1)
    handle = network.get_submodule(case.layer).register_forward_hook(replace)
    then = network(torch.from_numpy(inputs[:2])).double().log_softmax(1)
    handle.remove()
    divergence = (own.exp() * (own - then)).sum(1)
    np.testing.assert_allclose([each.kl_divergence for each in found.fidelity], divergence, rtol=1e-2, atol=1e-4)


@cases
def test_integrated_gradients_add_up_from_positions_of_0(
    case: Case, client: striate.Client, networks: dict[str, nn.Module], inputs: np.ndarray
) -> None:
    channels = client.activations(inputs[0], case.layer, model=case.model).layers[0].channels
    found = client.semantic_dictionary(
        inputs[0],
        case.layer,
        model=case.model,
        neurons=min(64, channels),
        classes=1,
        icons=False,
        attribution="integrated_gradients",
    )
    name = found.classes[0]

    def zero(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        kept = output[:, : case.prefix] if output.dim() == 3 else output[:, :0]
        return torch.cat([kept, torch.zeros_like(output[:, kept.shape[1] :])], 1)

    network = networks[case.model]
    handle = network.get_submodule(case.layer).register_forward_hook(zero)
    baseline = network(torch.from_numpy(inputs[:1]))[0, int(name.split()[1])]
    handle.remove()
    assert found.baseline_logits[name] == pytest.approx(float(baseline), rel=1e-3, abs=1e-4)
    whole = found.logits[name] - found.baseline_logits[name]
    assert found.effects.sum() == pytest.approx(whole, rel=0.05, abs=0.01)


def test_integrated_gradients_of_a_class_token_begin_where_it_is_0_and_positions_as_they_are(
    client: striate.Client, networks: dict[str, nn.Module], inputs: np.ndarray
) -> None:
    layer, steps, number = "encoder.layers.encoder_layer_0", 64, 1
    channels = client.activations(inputs[0], layer, model="vit").layers[0].channels
    ask = {"layer": layer, "model": "vit", "neurons": channels, "classes": [f"class {number}"], "icons": False}
    path = {"attribution": "integrated_gradients", "steps": steps}
    found = client.semantic_dictionary(inputs[0], prefix_tokens=["cls"], **ask, **path)
    network = networks["vit"]
    output, _ = output_and_logits(network, layer, inputs[:1])
    token, others = output[:, :1].detach(), output[:, 1:].detach()

    def logit_at(point: Tensor) -> Tensor:
        handle = network.get_submodule(layer).register_forward_hook(lambda *_: torch.cat([point, others], 1))
        logit = network(torch.from_numpy(inputs[:1]))[0, number]
        handle.remove()
        return logit

    mean = torch.zeros_like(token)
    for step in range(steps):  # more points near 0, as techniques/attribution.py says
        u = (step + 0.5) / steps
        point = (u**4 * token).requires_grad_()
        mean += 4 * u**3 / steps * torch.autograd.grad(logit_at(point), point)[0]
    (answer,) = found.prefix_tokens
    expected = (token * mean)[0, 0, answer.channels.tolist()]
    effects = answer.effects[:, 0]
    np.testing.assert_allclose(effects, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    whole = found.logits[f"class {number}"] - float(logit_at(torch.zeros_like(token)).detach())
    assert effects.sum() == pytest.approx(whole, rel=0.02, abs=0.01)
    alone = client.semantic_dictionary(inputs[0], **ask, **path)
    np.testing.assert_allclose(found.effects, alone.effects, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "earlier", "later"),
    [
        ("vit", Case("vit", "encoder.layers.encoder_layer_0", 1), Case("vit", "encoder.layers.encoder_layer_1", 1)),
        ("swin", Case("swin", "features.1.0", 0, True), Case("swin", "features.3.0", 0, True)),
        ("convnext", Case("convnext", "features.1.0.block.3", 0, True), Case("convnext", "features.1.0")),
    ],
    ids=["vit", "swin", "convnext"],
)
def test_flows_are_gradients_of_later_groups_times_earlier_parts(
    model: str, earlier: Case, later: Case, client: striate.Client, networks: dict[str, nn.Module], inputs: np.ndarray
) -> None:
    found = client.factorize_layers(
        list(inputs[:2]), [earlier.layer, later.layer], model=model, components=2, classes=0, rectify=True, icons=False
    )
    kept: dict[str, Tensor] = {}

    def keep(path: str) -> object:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            kept[path] = output.detach().requires_grad_() if path == earlier.layer else output
            return kept[path].clone()

        return networks[model].get_submodule(path).register_forward_hook(hook)

    handles = [keep(earlier.layer), keep(later.layer)]
    networks[model](torch.from_numpy(inputs[:2]))
    for handle in handles:
        handle.remove()
    first, second = found.layers
    parts = torch.einsum("nhwk,kc->nkchw", torch.from_numpy(first.spatial), torch.from_numpy(first.directions))
    then = torch.einsum("nhwk,kc->nkchw", torch.from_numpy(second.spatial), torch.from_numpy(second.directions))
    maps = later.to_map(kept[later.layer])
    for group in range(2):
        part = then[:, group]
        strength = ((maps * part).sum((1, 2, 3)) / part.flatten(1).norm(dim=1).clamp(min=1e-30)).sum()
        (by,) = torch.autograd.grad(strength, kept[earlier.layer], retain_graph=True)
        expected = torch.einsum("nchw,nkchw->nk", earlier.to_map(by), parts)
        ours = found.flows[0].influence[..., group]
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@cases
def test_icons_are_no_blanks(case: Case, client: striate.Client) -> None:
    for progress in client.render_icons(case.layer, model=case.model, channels=[1, 3]):
        for neuron in progress.neurons:
            assert neuron.icon is not None
            assert np.asarray(neuron.icon).std() > 3


def test_a_basis_of_tokens_is_built_and_applied(client: striate.Client, inputs: np.ndarray) -> None:
    layer = "encoder.layers.encoder_layer_0"
    pictures = [np.random.default_rng(k).integers(0, 255, (_SIZE, _SIZE, 3), dtype=np.uint8) for k in range(4)]
    last = list(client.build_basis("tokens", pictures, layer, model="vit", components=3, rectify=True))[-1]
    assert last.basis is not None
    assert last.basis.components == 3
    found = client.factorize(pictures[0], basis="tokens", icons=False)
    assert found.spatial.shape == (1, 4, 4, 3)


def test_examples_show_the_place_in_the_grid(client: striate.Client) -> None:
    layer = "features.1.1"
    pictures = [np.random.default_rng(k).integers(0, 255, (_SIZE, _SIZE, 3), dtype=np.uint8) for k in range(4)]
    images = [striate.LabelledImage(picture) for picture in pictures]
    list(client.index_examples(images, [layer], model="swin", examples=2))
    found = client.examples(layer, model="swin", channels=[0, 1])
    maps = client.activations(pictures, layer, model="swin")[layer]
    for channel, of_channel in found.channels.items():
        peaks = sorted((float(each[..., channel].max()) for each in maps), reverse=True)
        assert [each.activation for each in of_channel.examples] == pytest.approx(
            [peak for peak in peaks[:2] if peak > 0], rel=1e-3, abs=1e-4
        )


def test_callers_who_share_a_batch_get_their_own(
    client: striate.Client, networks: dict[str, nn.Module], inputs: np.ndarray
) -> None:
    layers = [layer.name for layer in client.model("vit").layers]

    def ask(number: int) -> striate.Activations:
        return client.activations(inputs[number], layers, model="vit", classes=0)

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, [number % 3 for number in range(12)]))
    for number, answer in enumerate(answers):
        for layer in answer.layers:
            assert answer[layer.name].shape == (1, *layer.shape)
            assert answer[layer.name].size
        own, _ = output_and_logits(networks["vit"], "encoder.ln", inputs[[number % 3]])
        np.testing.assert_allclose(answer["encoder.ln"], own.detach(), rtol=1e-5, atol=1e-5)


def test_models_say_their_layouts(client: striate.Client) -> None:
    layers = {layer.name: layer for layer in client.model("vit").layers}
    block = layers["encoder.layers.encoder_layer_1"]
    assert (block.layout, block.grid, block.prefix_tokens, block.signed) == ("tokens", (4, 4), ("cls",), True)
    assert (layers["conv_proj"].layout, layers["conv_proj"].grid) == ("chw", (4, 4))
    assert (layers["heads"].layout, layers["heads"].grid) == ("vector", (1, 1))
    inside = {layer.name: layer for layer in client.model("swin").layers}["features.1.0.mlp.0"]
    assert (inside.layout, inside.grid, inside.channels) == ("hwc", (8, 8), 64)


def test_a_module_that_is_no_layer_is_refused_with_the_reason(client: striate.Client, inputs: np.ndarray) -> None:
    with pytest.raises(striate.InvalidArgument, match=r"returns no tensor.*near it are"):
        client.activations(inputs[0], "encoder.layers.encoder_layer_0.self_attention", model="vit")


def test_the_embedded_transformer_explains_a_drawn_picture(client: striate.Client) -> None:
    picture = draw(7, "house")
    words = client.semantic_dictionary(picture.image, "norm", model="parts_vit", neurons=3, classes=1, icons=False)
    assert words.magnitude.shape == (14, 14)
    assert words.classes == [CLASSES[picture.label]]
    found = client.factorize(picture.image, "norm", model="parts_vit", components=6, classes=1, icons=False)
    assert (found.method, found.spatial.shape) == ("semi_nmf", (1, 14, 14, 6))
    assert found.spatial.min() >= 0 > found.directions.min()
