"""What requests may hold and ask for has limits, and who exceeds them hears which."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import striate
from conftest import settings
from google.protobuf.message import Message
from striate.v1 import bases_pb2, interpretability_pb2, labels_pb2, models_pb2
from striate.v1 import common_pb2 as pb
from striate.v1.bases_pb2_grpc import BasisServiceStub
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceStub
from striate.v1.labels_pb2_grpc import LabelServiceStub
from striate.v1.models_pb2_grpc import ModelServiceStub
from striate_service.local import LocalServer
from striate_service.stores.bases import BasisStore, StoredBasis

LAYER = "mixed5b"  # of 208 channels and 49 positions


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[LocalServer]:
    own = settings(
        home,
        devices=("cpu",),
        allow_model_changes=True,
        image_folders=(home,),
        max_detached_icons=20,
        max_message_bytes=2**23,
        max_request_bytes_in_progress=2**20,
    )
    with LocalServer(own) as running:
        yield running


@pytest.fixture
def channel(server: LocalServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.target) as opened:
        yield opened


def refusal(call: Callable[..., Any], request: Any) -> tuple[grpc.StatusCode, str]:
    """Return the status and message of a call that does not succeed."""
    try:
        answer = call(request, timeout=60)
        if hasattr(answer, "__next__"):
            list(answer)
    except grpc.RpcError as error:
        return error.code(), str(error.details())
    return grpc.StatusCode.OK, ""


def activations(**fields: Any) -> interpretability_pb2.ActivationsRequest:
    image = pb.Image(pixels=pb.Tensor(dtype=pb.DATA_TYPE_UINT8, shape=[8, 8, 3], data=bytes(192)))
    return interpretability_pb2.ActivationsRequest(**{"images": [image], "layers": [LAYER], **fields})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"fit": 77}, "fit: is 77; it should be CROP, STRETCH or PAD"),
        ({"reduction": 77}, "reduction: is 77; it should be NONE, MEAN or MAX"),
        ({"dtype": 77}, "dtype: is 77; it should be FLOAT32 or FLOAT16"),
        ({"dtype": pb.DATA_TYPE_UINT8}, "dtype: is 3; it should be FLOAT32 or FLOAT16"),
        ({"channels": [0] * 200_000}, "channels: are 200000, and mixed5b has 208"),
        (
            {"positions": [interpretability_pb2.Position()] * 50},
            "positions: are 50, and mixed5b has 49",
        ),
        ({"layers": [LAYER] * 10_000}, "layers: holds 10000 names"),
        ({"images": [pb.Image(pixels=pb.Tensor(dtype=9, shape=[0] * 99))]}, "images[0].pixels: should be uint8"),
    ],
)
def test_activations_of_what_there_is_not_are_refused_by_field(
    channel: grpc.Channel, fields: dict[str, Any], said: str
) -> None:
    code, details = refusal(InterpretabilityServiceStub(channel).Activations, activations(**fields))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert said in details


@pytest.mark.parametrize(
    ("service", "method", "request_", "said"),
    [
        (
            InterpretabilityServiceStub,
            "SemanticDictionary",
            interpretability_pb2.SemanticDictionaryRequest(layer=LAYER, attribution=77),
            "attribution: is 77; it should be GRADIENT_TIMES_ACTIVATION, INTEGRATED_GRADIENTS or NONE",
        ),
        (
            InterpretabilityServiceStub,
            "RenderIcons",
            interpretability_pb2.RenderIconsRequest(layer=LAYER, channels=[0], objective=77),
            "objective: is 77; it should be CHANNEL or NEURON",
        ),
        (
            LabelServiceStub,
            "SetLabel",
            labels_pb2.SetLabelRequest(layer=LAYER, label=pb.Label(text="ear", source=77)),
            "label.source: is 77; it should be PERSON, DISSECTION or IMPORTED",
        ),
        (LabelServiceStub, "ListLabels", labels_pb2.ListLabelsRequest(page_token="1" * 5000), "page_token: should be"),
        (LabelServiceStub, "ListLabels", labels_pb2.ListLabelsRequest(page_token="²"), "page_token: should be"),
        (BasisServiceStub, "ListBases", bases_pb2.ListBasesRequest(page_token="1" * 5000), "page_token: has 5000"),
        (BasisServiceStub, "GetBasis", bases_pb2.GetBasisRequest(name="a\0b"), r"name: is 'a\x00b'"),
        (
            ModelServiceStub,
            "LoadModel",
            models_pb2.LoadModelRequest(name="m", architecture="parts", weights="/tmp/\0"),
            "weights: should be",
        ),
    ],
)
def test_other_calls_are_refused_by_field_too(
    channel: grpc.Channel, service: type, method: str, request_: Message, said: str
) -> None:
    code, details = refusal(getattr(service(channel), method), request_)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert said in details


@pytest.mark.parametrize("folder", ["/tmp/\0", "/" + "a" * 5000, "/\n"])
def test_a_folder_that_is_no_path_is_refused(channel: grpc.Channel, folder: str) -> None:
    start = bases_pb2.BuildStart(name="a", layer=LAYER, folder=folder)
    code, details = refusal(BasisServiceStub(channel).BuildBasis, iter([bases_pb2.BuildBasisRequest(start=start)]))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "start.folder: should be a path" in details


def test_a_basis_that_an_older_server_stored_with_an_unknown_fit_is_listed(server: LocalServer, home: Path) -> None:
    unit = np.eye(2, 208, dtype=np.float32)
    kept = StoredBasis(
        "old",
        "0" * 64,
        "parts",
        LAYER,
        unit,
        np.zeros((2, 3), np.uint8),
        np.ones(2, np.float32),
        1.0,
        0.1,
        1,
        77,
        False,
    )
    store = BasisStore(home / "bases")
    store.save(kept)
    store.save(replace(kept, name="new", fit=1))
    with striate.Client(server.target) as client:
        assert [basis.name for basis in client.bases()] == ["new", "old"]


def test_icons_that_nobody_waits_for_have_a_quota(server: LocalServer, channel: grpc.Channel) -> None:
    def ask(channels: int, *, detach: bool) -> interpretability_pb2.RenderIconsRequest:
        return interpretability_pb2.RenderIconsRequest(
            layer="mixed4a", channels=range(channels), detach=detach, recipe="fourier", facets=2, omit_icons=True
        )

    code, details = refusal(InterpretabilityServiceStub(channel).RenderIcons, ask(11, detach=True))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "at most 20 icons that nobody waits for" in details
    watched = InterpretabilityServiceStub(channel).RenderIcons(ask(11, detach=False))
    assert next(watched).total == 22, "who waits may ask for more"
    watched.cancel()


def test_requests_beyond_the_memory_for_them_are_refused_with_a_time_to_come_again(
    server: LocalServer, channel: grpc.Channel
) -> None:
    large = pb.Image(pixels=pb.Tensor(dtype=pb.DATA_TYPE_UINT8, shape=[500, 500, 3], data=bytes(750_000)))
    call = InterpretabilityServiceStub(channel).Activations
    under_way = [call.future(activations(images=[large]), timeout=60) for _ in range(6)]
    codes = [each.code() for each in under_way]
    assert codes.count(grpc.StatusCode.OK) >= 1
    assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) >= 1
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    refused = next(each for each in under_way if each.code() is not grpc.StatusCode.OK)
    assert "the requests under way hold" in refused.details()
    with striate.Client(server.target) as client:
        assert client.activations(np.zeros((500, 500, 3), np.uint8), LAYER).predictions, "one by one they are answered"


def test_streams_are_slowed_down_and_not_refused_for_want_of_memory(server: LocalServer, channel: grpc.Channel) -> None:
    large = pb.Image(pixels=pb.Tensor(dtype=pb.DATA_TYPE_UINT8, shape=[500, 500, 3], data=bytes(750_000)))
    items = [
        interpretability_pb2.StreamActivationsRequest(id=str(number), request=activations(images=[large]))
        for number in range(12)
    ]
    replies = list(InterpretabilityServiceStub(channel).StreamActivations(iter(items), timeout=120))
    assert sorted(int(reply.id) for reply in replies) == list(range(12))
    assert {reply.WhichOneof("result") for reply in replies} == {"response"}
