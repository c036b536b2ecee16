"""Factorizations of several callers in one batch: nobody's groups depend on who else asks, or on what was refused."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import executor_of
from striate_service.config import EMBEDDED, ModelSettings
from striate_service.device.executor import Executor
from striate_service.models.embedded.pictures import draw
from striate_service.models.layers import capture
from striate_service.models.loading import load_model
from striate_service.models.torchvision_compat import import_torchvision
from striate_service.techniques.outcomes import Refusal
from striate_service.techniques.targets import Output
from striate_service.techniques.tasks.activations import ActivationsTask
from striate_service.techniques.tasks.base import Array, Predictions, Task, Work
from striate_service.techniques.tasks.dictionary import DictionaryTask
from striate_service.techniques.tasks.groups import (
    FactorizeActivationsTask,
    FactorizeLayersTask,
    FactorizeTask,
    GroupFlowsResult,
    GroupsResult,
)

SIGNED = "mixed4a.one.bn"  # before its ReLU


@pytest.fixture(scope="module")
def executor() -> Executor:
    return executor_of(load_model(EMBEDDED))


def images(*seeds: int) -> Array:
    return np.stack([draw(seed, "cat").image for seed in seeds])


def task(**changes: object) -> FactorizeTask:
    usual = {"model": "parts", "targets": (), "class_count": 3, "layer": "mixed4a", "components": 4, "rectify": False}
    return FactorizeTask(**{**usual, **changes})  # type: ignore[arg-type]


def run(executor: Executor, *works: Work, images_at_once: int = 64) -> list[Any]:
    return executor.run(works, images_at_once=images_at_once)


def arrays(result: object) -> dict[str, Array]:
    """Return the arrays of a result by their names, but for those that rounding of the activations may change."""
    found = {}
    for field in fields(result):  # type: ignore[arg-type]
        value = getattr(result, field.name)
        if isinstance(value, Predictions):
            found |= arrays(value)
        elif isinstance(value, dict):
            found |= value
        elif isinstance(value, np.ndarray) and field.name not in ("iterations", "converged"):
            found[field.name] = value
    return found


def test_groups_are_the_same_alone_and_in_a_batch(executor: Executor) -> None:
    tasks: list[Task[Any]] = [
        task(),
        task(components=3),
        task(),
        task(layer="mixed5b"),
        ActivationsTask("parts", (), 2, ("mixed4a",), "mean"),
        task(components=0),
        task(class_count=0),
    ]
    inputs = [images(1), images(2), images(3), images(4, 5), images(6), images(7), images(8)]
    works = list(map(Work, tasks, inputs))
    together = run(executor, *works)
    for work, found in zip(works, together, strict=True):
        (alone,) = run(executor, work)
        assert set(arrays(found)) == set(arrays(alone))
        for name, array in arrays(alone).items():
            scale = float(np.abs(array).max()) if array.size else 0.0
            np.testing.assert_allclose(arrays(found)[name], array, rtol=1e-3, atol=2e-3 * scale, err_msg=name)
    assert together[-1].kl_divergence is None


def test_the_same_batch_gives_the_same_bytes(executor: Executor) -> None:
    works = [Work(task(), images(1)), Work(task(), images(2))]
    first, second = (run(executor, *works) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        for name, array in arrays(one).items():
            np.testing.assert_array_equal(array, arrays(other)[name])


@pytest.mark.parametrize("targets", [{}, {"targets": (Output(3), Output(1)), "class_count": 0}])
def test_more_images_than_a_forward_takes_are_explained_as_in_one_forward(
    executor: Executor, targets: dict[str, object]
) -> None:
    """The most probable classes are those of all images together, also where they come in several forwards."""
    works = [
        Work(task(**targets), images(1, 2, 3, 4, 5)),
        Work(ActivationsTask("parts", (), 2, ("mixed5b",)), images(6)),
    ]
    sizes = []
    hook = executor.networks.module("parts").register_forward_hook(
        lambda _module, given, _output: sizes.append(len(given[0]))
    )
    try:
        whole, in_parts = (run(executor, *works, images_at_once=limit) for limit in (64, 2))
    finally:
        hook.remove()
    assert sizes[0] == 6
    assert max(sizes[1:]) == 2
    assert whole[0].targets == in_parts[0].targets
    for one, other in zip(whole, in_parts, strict=True):
        assert set(arrays(one)) == set(arrays(other))
        for name, array in arrays(one).items():
            scale = float(np.abs(array).max()) if array.size else 0.0
            np.testing.assert_allclose(arrays(other)[name], array, rtol=1e-3, atol=2e-3 * scale, err_msg=name)


def test_a_request_that_is_refused_costs_no_other(executor: Executor) -> None:
    refused, fine = run(executor, Work(task(layer=SIGNED, method="nmf"), images(1)), Work(task(), images(2)))
    assert isinstance(refused, Refusal)
    assert "negative" in refused.problem
    assert isinstance(fine, GroupsResult)


def test_activations_of_several_callers_have_the_bytes_that_they_have_alone(executor: Executor) -> None:
    rng = np.random.default_rng(0)
    given = [rng.random((2, 24, 9, 9), np.float32) ** 3 for _ in range(3)]
    given[1][0, 0, 0, 0] = np.nan
    works = [Work(FactorizeActivationsTask("", each, 3, rectify=False)) for each in given]
    together = run(executor, *works)
    assert isinstance(together[1], Refusal)
    assert "NaN" in together[1].problem
    for number in (0, 2):
        (alone,) = run(executor, works[number])
        for name, array in arrays(alone).items():
            np.testing.assert_array_equal(arrays(together[number])[name], array)


def test_flows_are_the_slopes_of_the_later_groups_strengths(tmp_path: Path) -> None:
    """On a network without pooling between the layers: among equal values a maximum has no slope."""
    layers = ("features.7", "features.9", "features.10")
    torch.manual_seed(0)
    torch.save(import_torchvision().models.squeezenet1_0(num_classes=5).state_dict(), tmp_path / "random.pth")
    model = load_model(ModelSettings(name="net", architecture="squeezenet1_0", weights=str(tmp_path / "random.pth")))
    pixels = torch.randn(2, 3, 224, 224)
    (found,) = run(executor_of(model), Work(FactorizeLayersTask("net", (), 2, layers, 2, False), pixels.numpy()))
    assert isinstance(found, GroupFlowsResult)
    groups = dict(zip(layers, found.layers, strict=True))
    network, pixels = model.network.double(), pixels.double()
    captured = capture(network, pixels, layers).layers

    def later_when(earlier: str, later: str, outputs: torch.Tensor) -> torch.Tensor:
        handle = network.get_submodule(earlier).register_forward_hook(lambda *_: outputs)
        try:
            return capture(network, pixels, [later]).layers[later]
        finally:
            handle.remove()

    for flow, (earlier, later) in zip(found.flows, pairwise(layers), strict=True):
        of = {layer: torch.from_numpy(groups[layer].spatial).double() for layer in (earlier, later)}
        directions = {layer: torch.from_numpy(groups[layer].directions).double() for layer in of}
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
        np.testing.assert_allclose(flow.influence, slopes, rtol=0.01, atol=2e-3 * scale)
        np.testing.assert_allclose(flow.residual, left_out, rtol=0.01, atol=5e-3 * scale)
        total = flow.influence.sum(1) + flow.residual
        np.testing.assert_allclose(total, whole, rtol=0.01, atol=5e-3 * scale)


class _SharedOut(torch.nn.Module):
    """Max pooling's values, with a gradient that is shared out by x^2: by unfolding, for windows without margins."""

    def __init__(self, pool: torch.nn.MaxPool2d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maxima = self.pool(x)
        size, stride, padding = self.pool.kernel_size, self.pool.stride, self.pool.padding
        windows = torch.nn.functional.unfold(x, size, stride=stride, padding=padding).unflatten(1, (x.shape[1], -1))
        squares = windows.detach().square()
        total = squares.sum(2, keepdim=True)
        linear = (windows * squares / total.clamp(min=1e-30)).sum(2).view_as(maxima)
        return torch.where(total.view_as(maxima) > 0, maxima.detach() + (linear - linear.detach()), maxima)


def test_smoothed_max_pools_give_effects_to_whom_asks_and_to_nobody_else(executor: Executor) -> None:
    """Against a network whose pools are unfolded; beside callers who did not ask, whose numbers stay to the bit."""
    usual, smooth = task(), task(smooth_max_pool=True)
    words = DictionaryTask("parts", (), 2, "mixed3b", 4, smooth_max_pool=True)
    flows = FactorizeLayersTask("parts", (), 2, ("mixed3b", "mixed4a"), 2, False, smooth_max_pool=True)
    works = [
        Work(usual, images(1)),
        Work(smooth, images(1)),
        Work(words, images(2)),
        Work(flows, images(3)),
        Work(replace(flows, smooth_max_pool=False), images(3)),
    ]
    together = run(executor, *works)
    plain = [Work(replace(work.task, smooth_max_pool=False), work.images) for work in works]
    nobody_asks = run(executor, *plain)
    for name, array in arrays(nobody_asks[0]).items():
        np.testing.assert_array_equal(arrays(together[0])[name], array)
    np.testing.assert_array_equal(together[4].flows[0].influence, nobody_asks[4].flows[0].influence)
    in_pieces, (alone,) = run(executor, *works, images_at_once=2), run(executor, works[2])
    for others in (in_pieces[2], alone):
        np.testing.assert_allclose(together[2].effects, others.effects, atol=1e-3 * np.abs(others.effects).max())
    assert np.abs(together[1].effects - together[0].effects).max() > 0.01
    assert np.abs(together[3].flows[0].influence - together[4].flows[0].influence).max() > 0.01

    unfolded = load_model(EMBEDDED)
    for path, module in list(unfolded.network.named_modules()):
        if isinstance(module, torch.nn.MaxPool2d):
            parent, _, name = path.rpartition(".")
            setattr(unfolded.network.get_submodule(parent), name, _SharedOut(module))
    reference = executor_of(unfolded)
    expected = run(reference, *plain)
    for number in (1, 2, 3):
        scale = np.abs(expected[number].layers[0].effects if number == 3 else expected[number].effects).max()
        pairs = [(together[number], expected[number])]
        if number == 3:
            pairs = list(zip(together[3].layers, expected[3].layers, strict=True))
            ours, theirs = together[3].flows[0].influence, expected[3].flows[0].influence
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours.effects, theirs.effects, rtol=1e-3, atol=1e-4 * scale)


def test_a_network_without_max_pools_after_the_layer_has_the_same_effects(executor: Executor) -> None:
    last = task(layer="mixed5b")
    found = run(executor, Work(last, images(1)), Work(replace(last, smooth_max_pool=True), images(1)))
    np.testing.assert_array_equal(found[0].effects, found[1].effects)
    np.testing.assert_array_equal(found[0].residual, found[1].residual)


def test_given_directions_stay_as_they_are(executor: Executor) -> None:
    (found,) = run(executor, Work(task(), images(1, 2)))
    (again,) = run(executor, Work(task(directions=found.directions), images(1, 2)))
    np.testing.assert_array_equal(again.directions, found.directions)
    np.testing.assert_allclose(again.spatial, found.spatial, atol=0.02 * found.spatial.max())


def test_a_signed_layer_is_factorized_as_it_is(executor: Executor) -> None:
    """Semi-NMF where there are negative values; the error is that of the layer, also where it is rectified."""
    pixels = images(1, 2)
    semi, rectified, activations = run(
        executor,
        Work(task(layer=SIGNED), pixels),
        Work(task(layer=SIGNED, rectify=True), pixels),
        Work(ActivationsTask("parts", (), 2, (SIGNED,)), pixels),
    )
    assert (semi.method, rectified.method) == ("semi-nmf", "nmf")
    layer = activations.layers[SIGNED].transpose(0, 2, 3, 1)
    assert layer.min() < 0
    for found in (semi, rectified):
        left = layer - found.spatial @ found.directions
        assert found.spatial.min() >= 0
        assert float(found.relative_error) == pytest.approx(np.linalg.norm(left) / np.linalg.norm(layer), rel=1e-4)
        alone = [
            1 - np.square(layer - found.spatial[..., [k]] @ found.directions[[k]]).sum() / np.square(layer).sum()
            for k in range(4)
        ]
        np.testing.assert_allclose(found.importance, alone, rtol=1e-3, atol=1e-4)
        assert found.importance.tolist() == sorted(found.importance.tolist(), reverse=True)
    assert semi.directions.min() < 0 <= rectified.directions.min()
    assert semi.relative_error < rectified.relative_error


def test_effects_and_residual_of_signed_groups_add_up(executor: Executor) -> None:
    classes = (1, 3)
    targets = tuple(map(Output, classes))
    (found,) = run(executor, Work(task(layer=SIGNED, targets=targets, class_count=0), images(3)))
    network = executor.networks.module("parts")
    pixels = executor.networks.inputs("parts", images(3))
    with torch.enable_grad():
        captured = capture(network, pixels, [SIGNED], gradients=[SIGNED], logits=True)
        layer = captured.layers[SIGNED]
        assert captured.logits is not None
        for m, number in enumerate(classes):
            (gradient,) = torch.autograd.grad(captured.logits[0, number], layer, retain_graph=True)
            whole = gradient * layer.detach()
            ours = found.effects[0, :, m].sum() + found.residual[0, m]
            assert ours == pytest.approx(float(whole.sum()), rel=1e-3, abs=1e-4 * float(whole.abs().sum()))


def test_each_layer_has_the_method_that_fits_it_and_flows_add_up(executor: Executor) -> None:
    several = FactorizeLayersTask("parts", (), 0, (SIGNED, "mixed5b"), 3, rectify=False)
    (found,) = run(executor, Work(several, images(1)))
    assert [each.method for each in found.layers] == ["semi-nmf", "nmf"]
    _, later = found.layers
    network, pixels = executor.networks.module("parts"), executor.networks.inputs("parts", images(1))
    with torch.enable_grad():
        layers = capture(network, pixels, [SIGNED, "mixed5b"], gradients=[SIGNED, "mixed5b"]).layers
        for number in range(3):
            part = torch.from_numpy(later.spatial[..., [number]] @ later.directions[[number]]).permute(0, 3, 1, 2)
            strength = (layers["mixed5b"] * part).sum() / part.norm()
            (gradient,) = torch.autograd.grad(strength, layers[SIGNED], retain_graph=True)
            whole = float((gradient * layers[SIGNED].detach()).sum())
            ours = float(found.flows[0].influence[0, :, number].sum() + found.flows[0].residual[0, number])
            assert ours == pytest.approx(whole, rel=1e-3, abs=1e-3)


def test_more_groups_than_dimensions_are_refused_in_words(executor: Executor) -> None:
    rng = np.random.default_rng(0)
    given = np.broadcast_to(rng.standard_normal((1, 12, 1, 1)), (1, 12, 8, 8)).astype(np.float32)  # all positions alike
    (refused,) = run(executor, Work(FactorizeActivationsTask("", given, 6, False, "fast-ica")))
    assert isinstance(refused, Refusal)
    assert refused.field == "components"
