"""Whatever a caller sends, the answer is an answer or says what is wrong with the request; nobody else suffers.

`make fuzz CASES=100000` sends more. A failure names its case, which `SEED` and `CASES` do not change.
"""

from __future__ import annotations

import logging
import os
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import striate
from conftest import settings
from hostile.sending import send
from hostile.spoilt_requests import case
from PIL import Image
from striate.v1 import interpretability_pb2 as messages
from striate_service.local import LocalServer

CASES = int(os.environ.get("CASES", "1000"))
SEED = os.environ.get("SEED", "0")
_AT_A_TIME = 8
_TIMEOUT = 240.0  # seconds, after which a call counts as hung: a first factorization compiles, on a busy machine too

_ALLOWED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    pictures = tmp_path_factory.mktemp("pictures")
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(pictures / "a.png")
    home = tmp_path_factory.mktemp("home")
    with LocalServer(settings(home, devices=("cpu",), image_folders=(pictures,), compile_ahead=True)) as running:
        yield running


def test_no_request_of_any_kind_is_the_servers_own_fault(
    server: LocalServer, caplog: pytest.LogCaptureFixture, photo: np.ndarray
) -> None:
    caplog.set_level(logging.WARNING)
    wrong, counts = [], Counter[str]()
    with grpc.insecure_channel(server.target) as channel, ThreadPoolExecutor(_AT_A_TIME) as threads:
        sent = threads.map(lambda number: send(channel, case(f"{SEED}-{number}"), _TIMEOUT), range(CASES))
        for seed, codes, details in sent:
            counts.update(code.name for code in codes)
            if not set(codes) <= _ALLOWED or len(details.encode()) > 2048:
                wrong.append(f"{seed}: {case(seed).method.name} {[code.name for code in codes]} {details[:300]}")
    print(dict(counts))
    assert not wrong, "\n".join(wrong[:20])
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    with striate.Client(server.target, timeout=60) as client:
        assert client.activations(photo, "mixed5b", reduce="mean").predictions, "it still answers"
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics").read().decode()
    assert 'striate_worker_restarts_total{device="cpu"} 0.0' in metrics, "no worker was lost"


def test_bytes_that_are_no_message_are_refused_counted_and_told_in_few_lines(
    server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    with grpc.insecure_channel(server.target) as channel:
        for path in ("/striate.v1.InterpretabilityService/Activations", "/grpc.health.v1.Health/Check"):
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(path)(b"\xff\xff", timeout=10)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        for path in (
            "/striate.v1.InterpretabilityService/StreamActivations",
            "/striate.v1.BasisService/BuildBasis",
        ):
            with pytest.raises(grpc.RpcError) as refused:
                list(channel.stream_stream(path)(iter([b"\xff\xff"]), timeout=10))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not caplog.records
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics").read().decode()
    assert 'striate_requests_total{code="INVALID_ARGUMENT",method="StreamActivations",model=""}' in metrics


@pytest.mark.parametrize("length", [300, 100_000, 2**20])
def test_a_long_name_comes_back_cut_with_its_reason(server: LocalServer, length: int) -> None:
    with grpc.insecure_channel(server.target) as channel:
        call = channel.unary_unary("/striate.v1.InterpretabilityService/Activations")
        for request in (
            messages.ActivationsRequest(model="é" * length),
            messages.ActivationsRequest(layers=["é" * length]),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                call(request.SerializeToString(), timeout=10)
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND
            assert f"it has {length} characters" in refused.value.details()
