"""Factorizations of several callers in one batch: nobody's groups depend on who else asks, or on what was refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from striate_service.backends.local.messages import Refusal
from striate_service.config import EMBEDDED, ModelSettings
from striate_service.device.executor import Executor
from striate_service.device.served import ServedModel
from striate_service.models.embedded.pictures import draw
from striate_service.models.layers import capture
from striate_service.models.loading import load_model
from striate_service.models.torchvision_compat import import_torchvision
from striate_service.techniques.tasks import (
    ActivationsTask,
    FactorizeActivationsTask,
    FactorizeLayersTask,
    FactorizeTask,
    ImageTask,
)


@pytest.fixture(scope="module")
def executor() -> Executor:
    model = load_model(EMBEDDED)
    return Executor([ServedModel(model.description, model.network)], "cpu")


def images(*seeds: int) -> dict[str, np.ndarray]:
    return {"images": np.stack([draw(seed, "cat").image for seed in seeds])}


def task(**changes: object) -> FactorizeTask:
    usual = {"model": "parts", "classes": (), "class_count": 3, "layer": "mixed4a", "components": 4, "rectify": False}
    return FactorizeTask(**{**usual, **changes})  # type: ignore[arg-type]


def test_groups_are_the_same_alone_and_in_a_batch(executor: Executor) -> None:
    tasks: list[ImageTask] = [
        task(),
        task(components=3),
        task(),
        task(layer="mixed5b"),
        ActivationsTask("parts", (), 2, ("mixed4a",), "mean", (), False),
        task(components=0),
        task(class_count=0),
    ]
    inputs = [images(1), images(2), images(3), images(4, 5), images(6), images(7), images(8)]
    together = executor.run(tasks, inputs)
    for each, given, found in zip(tasks, inputs, together, strict=True):
        (alone,) = executor.run([each], [given])
        assert isinstance(alone, dict)
        assert isinstance(found, dict)
        assert set(found) == set(alone)
        for name, array in alone.items():
            scale = float(np.abs(array).max()) if array.size else 0.0
            np.testing.assert_allclose(found[name], array, rtol=1e-3, atol=2e-3 * scale, err_msg=name)
    assert "kl_divergence" not in together[-1]


def test_the_same_batch_gives_the_same_bytes(executor: Executor) -> None:
    first, second = (executor.run([task(), task()], [images(1), images(2)]) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert isinstance(one, dict)
        assert isinstance(other, dict)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_a_request_that_is_refused_costs_no_other(executor: Executor) -> None:
    before_relu = "mixed4a.one.bn"
    refused, fine = executor.run([task(layer=before_relu), task()], [images(1), images(2)])
    assert isinstance(refused, Refusal)
    assert "negative" in refused.problem
    assert isinstance(fine, dict)


def test_activations_of_several_callers_have_the_bytes_that_they_have_alone(executor: Executor) -> None:
    rng = np.random.default_rng(0)
    given = [{"activations": rng.random((2, 24, 9, 9), np.float32) ** 3} for _ in range(3)]
    given[1]["activations"][0, 0, 0, 0] = np.nan
    tasks = [FactorizeActivationsTask(3, rectify=False)] * 3
    together = executor.run(tasks, given)
    assert isinstance(together[1], Refusal)
    assert "NaN" in together[1].problem
    for number in (0, 2):
        (alone,) = executor.run(tasks[:1], [given[number]])
        assert isinstance(alone, dict)
        found = together[number]
        assert isinstance(found, dict)
        for name, array in alone.items():
            np.testing.assert_array_equal(found[name], array)


def test_flows_are_the_slopes_of_the_later_groups_strengths(tmp_path: Path) -> None:
    """On a network without pooling between the layers: among equal values a maximum has no slope."""
    layers = ("features.7", "features.9", "features.10")
    torch.manual_seed(0)
    torch.save(import_torchvision().models.squeezenet1_0(num_classes=5).state_dict(), tmp_path / "random.pth")
    model = load_model(ModelSettings(name="net", architecture="squeezenet1_0", weights=str(tmp_path / "random.pth")))
    pixels = torch.randn(2, 3, 224, 224)
    (found,) = Executor([ServedModel(model.description, model.network)], "cpu").run(
        [FactorizeLayersTask("net", (), 2, layers, 2, False)], [{"images": pixels.numpy()}]
    )
    assert isinstance(found, dict)
    network, pixels = model.network.double(), pixels.double()
    captured = capture(network, pixels, layers).layers

    def later_when(earlier: str, later: str, outputs: torch.Tensor) -> torch.Tensor:
        handle = network.get_submodule(earlier).register_forward_hook(lambda *_: outputs)
        try:
            return capture(network, pixels, [later]).layers[later]
        finally:
            handle.remove()

    for earlier, later in pairwise(layers):
        of = {layer: torch.from_numpy(found[f"{layer} spatial"]).double() for layer in (earlier, later)}
        directions = {layer: torch.from_numpy(found[f"{layer} directions"]).double() for layer in of}
        part = {layer: torch.einsum("nhwk,kc->nkchw", of[layer], directions[layer]) for layer in of}
        unit = part[later] / part[later].flatten(2).norm(dim=2)[:, :, None, None, None]

        def slope(change: torch.Tensor, earlier: str, later: str, unit: torch.Tensor) -> torch.Tensor:
            step = 1e-5
            up, down = (later_when(earlier, later, captured[earlier] + sign * step * change) for sign in (1, -1))
            return torch.einsum("nchw,nlchw->nl", (up - down) / (2 * step), unit)

        slopes = torch.stack([slope(part[earlier][:, k], earlier, later, unit) for k in range(2)], dim=1)
        left_out = slope(captured[earlier] - part[earlier].sum(1), earlier, later, unit)
        whole = slope(captured[earlier], earlier, later, unit)
        scale = float(slopes.abs().max())
        np.testing.assert_allclose(found[f"{earlier} flow"], slopes, rtol=0.01, atol=2e-3 * scale)
        np.testing.assert_allclose(found[f"{earlier} flow_residual"], left_out, rtol=0.01, atol=5e-3 * scale)
        total = found[f"{earlier} flow"].sum(1) + found[f"{earlier} flow_residual"]
        np.testing.assert_allclose(total, whole, rtol=0.01, atol=5e-3 * scale)


def test_given_directions_stay_as_they_are(executor: Executor) -> None:
    (found,) = executor.run([task()], [images(1, 2)])
    assert isinstance(found, dict)
    (again,) = executor.run([task()], [images(1, 2) | {"directions": found["directions"]}])
    assert isinstance(again, dict)
    np.testing.assert_array_equal(again["directions"], found["directions"])
    np.testing.assert_allclose(again["spatial"], found["spatial"], atol=0.02 * found["spatial"].max())
