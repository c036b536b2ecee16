"""Objectives that an operator adds are asked for by name; what is wrong with them is said when the server starts."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from conftest import settings
from PIL import Image
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceStub
from striate_service.backends.local.supervision import StartError
from striate_service.local import LocalServer

LAYER = "mixed3a"
MODULE = """
from striate_service.techniques.feature_visualization import objective

@objective("center")
def center(activations, channel):
    height, width = activations.shape[2:]
    return activations[:, channel, height // 3 : -height // 3, width // 3 : -width // 3].mean((1, 2))

@objective("corner", version=2)
def corner(activations, channel, row, column):
    return activations[:, channel, :row, :column].mean((1, 2))

@objective("broken")
def broken(activations, channel):
    raise RuntimeError("out of order")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of an operator's modules, which workers find."""
    path = tmp_path_factory.mktemp("modules")
    (path / "my_objectives.py").write_text(MODULE)
    (path / "same_again.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(path), prepend=os.pathsep)
        yield path


@pytest.fixture(scope="module")
def stub(folder: Path) -> Iterator[InterpretabilityServiceStub]:
    adapted = settings(folder / "home", objectives=["my_objectives"])
    with LocalServer(adapted) as server, grpc.insecure_channel(server.target) as channel:
        yield InterpretabilityServiceStub(channel)


def rendered(stub: InterpretabilityServiceStub, **fields: object) -> pb.Icon:
    request = messages.RenderIconsRequest(layer=LAYER, channels=[7], **fields)  # type: ignore[arg-type]
    (neuron,) = [neuron for response in stub.RenderIcons(request, timeout=120) for neuron in response.neurons]
    return neuron.icon


def busy(icon: pb.Icon) -> np.ndarray:
    """How much colors differ in each ninth of an icon, [3, 3]."""
    picture = np.asarray(Image.open(io.BytesIO(icon.data)), float)[1:-1, 1:-1]
    return picture.reshape(3, 42, 3, 42, 3).std(axis=(1, 3)).mean(axis=2)


def test_an_objective_is_asked_for_by_name(stub: InterpretabilityServiceStub) -> None:
    usual, center = rendered(stub), rendered(stub, objective_name="center")
    assert (usual.status, center.status) == (pb.ICON_STATUS_READY, pb.ICON_STATUS_READY)
    assert busy(center)[1, 1] > 2 * np.delete(busy(center).ravel(), 4).mean(), "it fills the middle"
    assert busy(usual)[1, 1] < 1.5 * np.delete(busy(usual).ravel(), 4).mean()
    assert rendered(stub, objective_name="center").data == center.data, "from the store"


def test_an_objective_may_take_a_position(stub: InterpretabilityServiceStub) -> None:
    corner = rendered(stub, objective_name="corner", position=messages.Position(row=5, column=5))
    assert np.unravel_index(busy(corner).argmax(), (3, 3)) == (0, 0)
    with pytest.raises(grpc.RpcError, match="position"):
        rendered(stub, objective_name="center", position=messages.Position(row=5, column=5))


def test_a_name_that_is_not_there_is_refused_with_those_that_are(stub: InterpretabilityServiceStub) -> None:
    for fields, problem in (
        ({"objective_name": "centre"}, "objective_name: is 'centre'; it should be 'broken' or 'center' or 'corner'"),
        ({"objective_name": "center", "objective": messages.ICON_OBJECTIVE_CHANNEL}, "objective: should be left out"),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            rendered(stub, **fields)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert problem in refused.value.details()


def test_the_icon_of_a_function_that_fails_is_marked(stub: InterpretabilityServiceStub) -> None:
    assert rendered(stub, objective_name="broken").status == pb.ICON_STATUS_FAILED
    assert rendered(stub, objective_name="center", facets=2).status == pb.ICON_STATUS_READY


@pytest.mark.parametrize(
    ("modules", "problem"),
    [
        (["my_objectives", "same_again"], "two objectives are called 'center'"),
        (["not_there"], "'not_there' of the setting `objectives` cannot be imported"),
    ],
)
def test_a_mistake_is_said_at_the_start(folder: Path, modules: list[str], problem: str) -> None:
    with pytest.raises(StartError, match=problem), LocalServer(settings(folder / "home", objectives=modules)):
        pass
