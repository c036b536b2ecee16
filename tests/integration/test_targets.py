"""Effects on whatever a network answers with, through a real server and the client: against plain torch's autograd."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import detection
import numpy as np
import pytest
import striate
import torch
import varied
from conftest import settings
from striate_service.local import LocalServer
from striate_service.models.torchvision_compat import import_torchvision
from torch import Tensor, nn

_HEIGHT, _WIDTH = 64, 96
_STATISTICS = "mean=0.5,0.5,0.5 std=0.5,0.5,0.5"
_SIZE = f"resize={_HEIGHT},{_WIDTH} crop={_HEIGHT},{_WIDTH} {_STATISTICS}"
VECTOR = np.linspace(-1, 2, 8).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """A target, and how plain torch reads it from what the network returns for one image."""

    model: str
    layer: str
    target: Any
    name: str
    value: Callable[[Any], Tensor]


def _embedded(output: Tensor) -> Tensor:
    vector = torch.from_numpy(VECTOR)
    return (output[0] @ vector) / (output[0].norm() * vector.norm())


CASES = [
    Case("many", "conv", striate.Class("class 3"), "class 3", lambda output: output[0, 3]),
    Case("many", "conv", striate.Output(1), "class 1", lambda output: output[0, 1]),
    Case("features", "conv", striate.Output(5), "output 5", lambda output: output[0, 5]),
    Case("features", "conv", striate.Embedding(VECTOR), "cosine to the given embedding", _embedded),
    Case(
        "segmenter",
        "backbone.4",
        striate.Region("boat", box=(0.25, 0.5, 0.75, 1.0)),
        "boat in the region",
        lambda output: output["out"][0, 1, 16:48, 48:96].mean(),
    ),
    Case(
        "segmenter",
        "backbone.4",
        striate.Region("sky"),
        "sky in the image",
        lambda output: output["out"][0, 2].mean(),
    ),
]
_OVERLAP = {"ssdlite": 0.55, "rcnn": 0.5}
DETECTORS = {"ssdlite": "ssdlite320_mobilenet_v3_large"}
if "LONG" in os.environ:  # it takes half a minute to start: make faults
    DETECTORS["rcnn"] = "fasterrcnn_mobilenet_v3_large_320_fpn"
needs_rcnn = pytest.mark.skipif("rcnn" not in DETECTORS, reason="it takes half a minute to start: make faults")
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.model}-{case.name}")


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    segmenter = import_torchvision().models.get_model(
        "lraspp_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=3
    )
    detectors = {name: detection.make(architecture, classes=3) for name, architecture in DETECTORS.items()}
    made = {"many": varied.Varied(), "features": varied.Varied(classes=0), "segmenter": segmenter, **detectors}
    return {name: network.eval().requires_grad_(False) for name, network in made.items()}


@pytest.fixture(scope="module")
def client(networks: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Iterator[striate.Client]:
    folder = tmp_path_factory.mktemp("targets")
    architectures = {"segmenter": "lraspp_mobilenet_v3_large", **DETECTORS}
    for name in architectures:
        torch.save(networks[name].state_dict(), folder / f"{name}.pth")
    (folder / "classes.txt").write_text("shore\nboat\nsky\n")
    models = [
        f"many=varied:Varied:built {_SIZE}",
        f"features=varied:Varied:built {_SIZE} arguments.classes=0",
        *(
            f"{name}={architecture}:{folder}/{name}.pth {_SIZE} classes={folder}/classes.txt "
            "arguments.num_classes=3"  # which saves building each network twice more
            for name, architecture in architectures.items()
        ),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(varied.__file__).parent), prepend=":")
        own = settings(folder, models=models, devices=("cpu",), start_timeout=900)  # five networks
        with LocalServer(own) as running, striate.Client(running.target, timeout=600) as connected:
            yield connected


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8)


def inputs_of(pixels: np.ndarray) -> Tensor:
    return (torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5


def _run(network: nn.Module, inputs: Tensor) -> Any:
    return network(inputs)


def gradient_and_activation(
    network: nn.Module, case: Case, pixels: np.ndarray, run: Callable[[Any, Tensor], Any] = _run
) -> tuple[Tensor, Tensor, float]:
    """Return the target's gradient with respect to the layer and the layer, [C, H, W] each, and the target."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0].clone()

    handle = network.get_submodule(case.layer).register_forward_hook(keep)
    try:
        value = case.value(run(network, inputs_of(pixels)))
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(value, kept)
    return gradient[0], kept[0].detach()[0], float(value.detach())


def close(found: Any, expected: Any, tolerance: float = 1e-4) -> None:
    scale = float(np.abs(np.asarray(expected)).max())
    assert scale > 0
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)


@cases
def test_effects_are_activation_times_gradient_of_the_target(
    client: striate.Client, networks: dict[str, nn.Module], case: Case
) -> None:
    pixels = picture(0)
    found = client.semantic_dictionary(pixels, case.layer, model=case.model, targets=[case.target], neurons=8)
    gradient, activation, value = gradient_and_activation(networks[case.model], case, pixels)
    assert found.classes == [case.name]
    close(found.logits[case.name], value)
    rows, columns = found.positions.T
    effects = (gradient * activation).numpy()[:, rows, columns].T
    close(found.effects[..., 0], np.take_along_axis(effects, found.channels, axis=1))
    assert found.at(1, 2)[0].effects.keys() == {case.name}


@pytest.mark.parametrize(
    ("model", "layer", "target", "name", "place"),
    [
        ("ssdlite", "backbone.features.0.4", striate.Box("boat"), "the best boat box", 0),
        ("ssdlite", "backbone.features.0.4", striate.Box("boat", rank=2), "the boat box at place 2", 2),
        pytest.param(
            "rcnn", "backbone.body.4", striate.Box("boat", rank=1), "the boat box at place 1", 1, marks=needs_rcnn
        ),
    ],
)
def test_effects_on_the_score_of_a_detectors_box(
    client: striate.Client, networks: dict[str, Any], model: str, layer: str, target: striate.Box, name: str, place: int
) -> None:
    pixels, network = picture(0), networks[model]
    case = Case(model, layer, target, name, lambda found: found.logits[found.ranked(1, _OVERLAP[model])[place], 1])
    found = client.semantic_dictionary(pixels, layer, model=model, targets=target, neurons=8)
    gradient, activation, value = gradient_and_activation(network, case, pixels, detection.find)
    assert found.classes == [name]
    close(found.logits[name], value, 1e-3)
    rows, columns = found.positions.T
    effects = (gradient * activation).numpy()[:, rows, columns].T
    close(found.effects[..., 0], np.take_along_axis(effects, found.channels, axis=1), 1e-2)


def test_a_box_is_found_by_its_area_and_groups_add_up(client: striate.Client, networks: dict[str, Any]) -> None:
    everything = detection.find(networks["ssdlite"], inputs_of(picture(3)))
    wanted = everything.ranked(2, _OVERLAP["ssdlite"])[4]
    left, top, right, bottom = (everything.corners[wanted, 2] / torch.tensor([_WIDTH, _HEIGHT] * 2)).tolist()
    near = striate.Box("sky", near=(top, left, bottom, right))
    layer, targets = "backbone.features.0.4", [near, striate.Box("sky", rank=4)]
    found = client.factorize(picture(3), layer, model="ssdlite", components=2, targets=targets)
    assert found.classes == ["the sky box nearest the area", "the sky box at place 4"]
    close(found.effects[..., 0], found.effects[..., 1])
    flows = client.factorize_layers(
        picture(3), [layer, "backbone.features.0.6"], model="ssdlite", components=2, targets=near
    )
    close(flows.layers[0].effects[..., 0], found.effects[..., 0])


@cases
def test_effects_of_groups_and_what_they_leave_out_are_the_whole(
    client: striate.Client, networks: dict[str, nn.Module], case: Case
) -> None:
    several = [picture(1), picture(2)]
    found = client.factorize(several, case.layer, model=case.model, components=3, targets=case.target)
    for number, pixels in enumerate(several):
        gradient, activation, _ = gradient_and_activation(networks[case.model], case, pixels)
        whole = gradient * activation  # of a cosine, which does not depend on the length, the sum is about 0
        ours = found.effects[number].sum() + found.residual_effects[number, 0]
        assert ours == pytest.approx(float(whole.sum()), rel=1e-3, abs=1e-4 * float(whole.abs().sum()))
        part = np.einsum("hwk,kc->kchw", found.spatial[number], found.directions)
        close(found.effects[number, :, 0], (gradient.numpy() * part).sum((1, 2, 3)), 1e-3)
    assert found.classes == [case.name]
    assert [list(group.effects) for group in found.groups] == [[case.name]] * 3
    assert bool(found.fidelity) == (case.model == "many")


def test_flows_explain_targets_in_every_layer(client: striate.Client) -> None:
    targets = [striate.Region("boat"), striate.Region("boat", box=(0, 0, 0.5, 0.5)), striate.Region("sky")]
    layers = ["backbone.4", "backbone.12"]
    found = client.factorize_layers(picture(0), layers, model="segmenter", components=2, targets=targets)
    for layer, each in zip(layers, found.layers, strict=True):
        assert each.classes == ["boat in the image", "boat in the region", "sky in the image"]
        alone = client.factorize(picture(0), layer, model="segmenter", components=2, targets=targets)
        close(each.effects, alone.effects)


def test_integrated_gradients_add_up_for_a_region(client: striate.Client) -> None:
    region = striate.Region("boat", box=(0, 0, 0.3, 0.3))
    options: Any = {"targets": region, "attribution": "integrated_gradients", "steps": 24, "neurons": 40}
    found = client.semantic_dictionary(picture(0), "backbone.4", model="segmenter", **options)
    assert found.layer.channels == 40
    (name,) = found.classes
    whole = found.logits[name] - found.baseline_logits[name]
    assert found.effects.sum() == pytest.approx(whole, rel=0.02)
    assert abs(whole) > 1e-4


def test_sobol_indices_of_an_embedding(client: striate.Client) -> None:
    found = client.factorize(
        picture(0), "conv", model="features", components=2, targets=striate.Embedding(VECTOR), sobol_points=8
    )
    assert found.sobol_indices is not None
    assert found.sobol_indices.shape == (1, 2, 1)
    assert np.isfinite(found.sobol_indices).all()


def test_callers_with_different_targets_share_a_batch(client: striate.Client) -> None:
    targets = [
        [striate.Region("boat")],
        [striate.Region("sky", box=(0.1, 0.2, 0.5, 0.9)), striate.Region("shore"), striate.Region("sky")],
        [],
    ]

    def ask(number: int) -> np.ndarray:
        given = targets[number % len(targets)]
        return client.semantic_dictionary(picture(number), "backbone.4", model="segmenter", targets=given).effects

    with ThreadPoolExecutor(9) as threads:
        together = list(threads.map(ask, range(9)))
    for number in range(3):
        alone = ask(number)
        assert alone.shape[2] == len(targets[number])
        if alone.size:
            close(together[number], alone)


def test_two_targets_of_one_name_are_told_apart(client: striate.Client) -> None:
    vectors = [striate.Embedding(VECTOR), striate.Embedding(-VECTOR)]
    found = client.semantic_dictionary(picture(0), "conv", model="features", targets=vectors)
    assert found.classes == ["cosine to the given embedding (1)", "cosine to the given embedding (2)"]
    close(found.effects[..., 0], -found.effects[..., 1])


def test_the_description_of_a_model_tells_its_targets(client: striate.Client) -> None:
    models = {model.name: model for model in client.models()}
    assert models["many"].target_kinds == ("class", "output", "embedding")
    assert (models["many"].outputs, models["many"].target_classes) == (5, ())
    assert models["features"].target_kinds == ("output", "embedding")
    assert models["features"].outputs == 8
    assert models["segmenter"].target_kinds == ("region",)
    assert models["segmenter"].target_classes == ("shore", "boat", "sky")
    assert models["segmenter"].classes == ()
    for name in DETECTORS:
        assert models[name].target_kinds == ("box",)
        assert models[name].target_classes == ("shore", "boat", "sky")


NAN = np.full(8, np.nan, np.float32)


@pytest.mark.parametrize(
    ("model", "targets", "field", "sentence"),
    [
        (
            "many",
            striate.Region("dog"),
            "targets[0].region",
            "many gives no classes over a region; effects of many can",
        ),
        ("features", striate.Class("dog"), "targets[0].class_name", "can be on outputs by index and the cosine"),
        ("segmenter", striate.Output(0), "targets[0].output", "segmenter can be on classes over a region"),
        ("segmenter", striate.Box("sky"), "targets[0].box", "gives no boxes"),
        ("features", striate.Output(8), "targets[0].output", "is 8; it should be 0 to 7"),
        ("features", striate.Embedding(NAN), "targets[0].embedding", "should be finite and not all 0"),
        ("features", striate.Embedding(np.zeros(8)), "targets[0].embedding", "should be finite and not all 0"),
        ("features", striate.Embedding(VECTOR[:7]), "targets[0].embedding", r"should be float32 or float16 \[8\]"),
        ("segmenter", striate.Region("sky", box=(0, 0, 1, 1.1)), "targets[0].region.area", "within 0 to 1"),
        ("segmenter", striate.Region("sky", box=(0.5, 0, 0.5, 1)), "targets[0].region.area", "within 0 to 1"),
        ("segmenter", striate.Region("sky", box=(0, 0, 1, float("nan"))), "targets[0].region.area", "within 0 to 1"),
        ("ssdlite", striate.Box("sky", rank=100), "targets[0].box.rank", "is 100; it should be 0 to 99"),
        ("ssdlite", striate.Box("sky", near=(0, 0, 2, 1)), "targets[0].box.near", "within 0 to 1"),
        pytest.param(
            "rcnn",
            striate.Box("sky", rank=99),
            "targets",
            "asks for the box at place 99 by score, and an image has",
            marks=needs_rcnn,
        ),
        ("ssdlite", striate.Region("sky"), "targets[0].region", "effects of ssdlite can be on boxes"),
        ("many", [striate.Output(0)] * 21, "targets", "holds 21; at most 20"),
    ],
)
def test_a_target_that_a_model_does_not_have_is_refused_by_name(
    client: striate.Client, model: str, targets: Any, field: str, sentence: str
) -> None:
    layers = {"segmenter": "backbone.4", "ssdlite": "backbone.features.0.4", "rcnn": "backbone.body.4"}
    layer = layers.get(model, "conv")
    with pytest.raises(striate.InvalidArgument, match=sentence) as refused:
        client.semantic_dictionary(picture(0), layer, model=model, targets=targets)
    assert list(refused.value.violations) == [field]


def test_boxes_are_not_for_methods_that_change_activations(client: striate.Client) -> None:
    layer = "backbone.features.0.4"
    with pytest.raises(striate.InvalidArgument, match="attribution: INTEGRATED_GRADIENTS cannot be of boxes"):
        client.semantic_dictionary(
            picture(0), layer, model="ssdlite", targets=striate.Box("sky"), attribution="integrated_gradients"
        )
    with pytest.raises(striate.InvalidArgument, match="sobol_points: Sobol indices cannot be of boxes"):
        client.factorize(picture(0), layer, model="ssdlite", targets=striate.Box("sky"), sobol_points=8)


def test_unknown_classes_of_regions_are_answered_with_close_ones(client: striate.Client) -> None:
    with pytest.raises(striate.NotFound, match="did you mean 'boat'"):
        client.factorize(picture(0), "backbone.4", model="segmenter", targets=striate.Region("boats"))


def test_classes_of_a_model_without_classes_are_refused_with_what_it_has(client: striate.Client) -> None:
    with pytest.raises(striate.InvalidArgument, match="segmenter gives no classes; effects of segmenter can be on"):
        client.factorize(picture(0), "backbone.4", model="segmenter", classes=["boat"])
    with pytest.raises(striate.InvalidArgument, match="beside class_names"):
        client.factorize(picture(0), "conv", model="many", classes=["class 1"], targets=[striate.Output(1)])
