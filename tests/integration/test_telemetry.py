"""What the service tells those who run it: its metrics count what happened, under the names of what happened."""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
import striate
from conftest import settings
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from striate.calls.activations import ActivationsCall
from striate.v1 import interpretability_pb2 as messages
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceStub as Stub
from striate_service.local import LocalServer

MEBIBYTE = 2**20
BYTES = ("striate_received_bytes_total", "striate_sent_bytes_total")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that takes small messages only, and exports no networks."""
    home = tmp_path_factory.mktemp("home")
    with LocalServer(settings(home, devices=("cpu",), max_message_bytes=2 * MEBIBYTE)) as server:
        yield server


@pytest.fixture
def caller(watched: LocalServer) -> Iterator[striate.Client]:
    with striate.Client(watched.target, timeout=120) as client:
        yield client


@pytest.fixture
def stub(watched: LocalServer) -> Iterator[Stub]:
    with grpc.insecure_channel(watched.target) as channel:
        yield Stub(channel)


def scraped(server: LocalServer, accept: str = "text/plain") -> str:
    url = f"http://127.0.0.1:{server.metrics_port}/metrics"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept})) as reply:
        return str(reply.read().decode())


def value(server: LocalServer, name: str, **labels: str) -> float:
    """Return the sum over a metric's series that have certain labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(scraped(server))
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def small(photo: np.ndarray) -> np.ndarray:
    return photo[::4, ::4].copy()


def test_requests_and_their_times_are_counted_by_method_model_and_code(
    watched: LocalServer, caller: striate.Client, photo: np.ndarray
) -> None:
    caller.activations([small(photo)] * 3, "mixed4a", reduce="mean")
    with pytest.raises(striate.NotFound):
        caller.activations(small(photo), "nowhere")
    with pytest.raises(striate.NotFound):
        caller.activations(small(photo), "mixed4a", model="no such model")
    for name in ("striate_requests_total", "striate_request_duration_seconds_count"):
        for model, code in (("parts", "OK"), ("parts", "NOT_FOUND"), ("unknown", "NOT_FOUND")):
            assert value(watched, name, method="Activations", model=model, code=code) == 1
    assert "no such model" not in scraped(watched), "a caller's text is no label"
    assert value(watched, "striate_images_total", model="parts") == 3
    assert value(watched, "striate_batch_size_images_sum", model="parts") == 3
    assert value(watched, "striate_workers", device="cpu", state="idle") == 1


def test_stages_are_those_of_the_request_and_lie_within_it(
    watched: LocalServer, caller: striate.Client, photo: np.ndarray
) -> None:
    batches = value(watched, "striate_batch_duration_seconds_sum")
    caller.semantic_dictionary(small(photo), "conv2", neurons=1, icons=False)
    name, method = "striate_request_stage_duration_seconds", "SemanticDictionary"
    for stage in ("decode", "queue", "transport", "compute", "encode"):
        assert value(watched, f"{name}_count", method=method, stage=stage) == 1
    spent = value(watched, f"{name}_sum", method=method)
    assert 0 < spent <= value(watched, "striate_request_duration_seconds_sum", method=method)
    computed = value(watched, f"{name}_sum", method=method, stage="compute")
    assert computed == pytest.approx(value(watched, "striate_batch_duration_seconds_sum") - batches)


def test_a_missed_deadline_is_no_cancellation(watched: LocalServer, stub: Stub) -> None:
    """Of a stream in which nothing is sent: no worker sees it, and only its end tells why it has ended."""
    over = threading.Event()

    def nothing() -> Iterator[messages.StreamActivationsRequest]:
        over.wait()
        yield from ()

    def counted() -> dict[str, float]:
        codes = ("DEADLINE_EXCEEDED", "CANCELLED")
        return {code: value(watched, "striate_requests_total", method="StreamActivations", code=code) for code in codes}

    try:
        with pytest.raises(grpc.RpcError) as missed:
            next(stub.StreamActivations(nothing(), timeout=3))  # it has to reach the server before
        assert missed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_until(lambda: counted() == {"DEADLINE_EXCEEDED": 1, "CANCELLED": 0})
        gone = stub.StreamActivations(nothing(), timeout=300)
        wait_until(lambda: value(watched, "striate_requests_in_progress", method="StreamActivations") == 1)
        gone.cancel()
        wait_until(lambda: counted() == {"DEADLINE_EXCEEDED": 1, "CANCELLED": 1})
    finally:
        over.set()


def test_what_is_too_large_is_refused_by_name_and_bytes_are_counted(
    watched: LocalServer, caller: striate.Client, stub: Stub, photo: np.ndarray
) -> None:
    def refused() -> float:
        return value(watched, "striate_refusals_total", method="Activations", reason="oversized")

    with pytest.raises(striate.MessageTooLarge):
        caller.activations(np.zeros((1024, 1024, 3), np.uint8), "conv2")
    assert refused() == 1
    with pytest.raises(striate.InvalidArgument, match="would make a reply of"):
        caller.activations([photo[::16, ::16].copy()] * 64, ["conv2", "mixed4a"])
    assert refused() == 2

    before = {name: value(watched, name, method="Activations") for name in BYTES}
    request = ActivationsCall(images=small(photo), layers="mixed4a", reduce="mean").request()
    reply = stub.Activations(request)
    received, sent = (value(watched, name, method="Activations") - before[name] for name in BYTES)
    assert (received, sent) == (request.ByteSize(), reply.ByteSize())


def test_factorizations_and_icons_tell_what_they_took(
    watched: LocalServer, caller: striate.Client, photo: np.ndarray
) -> None:
    found = caller.factorize(small(photo), "mixed4a", components=2)
    assert value(watched, "striate_factorization_relative_error_sum") == pytest.approx(found.relative_error)
    assert value(watched, "striate_factorization_iterations_count", method="nmf") == 1
    assert value(watched, "striate_factorization_iterations_sum", method="nmf") >= 1
    list(caller.render_icons("mixed5b", channels=[0]))
    assert value(watched, "striate_icon_sources_total", source="shipped") >= 1


def test_the_process_tells_of_itself_and_nothing_is_told_twice(watched: LocalServer) -> None:
    assert value(watched, "process_resident_memory_bytes") > MEBIBYTE
    assert value(watched, "striate_store_bytes", store="labels") > 0
    assert value(watched, "striate_oldest_waiting_job_seconds", lane="interactive") == 0
    for accept in ("text/plain", OPENMETRICS):
        assert not re.search("_created\\b", scraped(watched, accept))


def test_who_asks_for_openmetrics_finds_the_trace_of_a_call(watched: LocalServer, photo: np.ndarray) -> None:
    for flags, layer in (("01", "mixed4a"), ("00", "mixed4b")):  # the caller keeps the first trace only
        trace = TRACE if flags == "01" else TRACE[::-1]
        metadata = [("traceparent", f"00-{trace}-00f067aa0ba902b7-{flags}")]
        with striate.Client(watched.target, metadata=metadata, timeout=120) as client:
            client.activations(small(photo), layer, reduce="mean")
    traces = {
        (family.name, sample.exemplar.labels["trace_id"])
        for family in parse_openmetrics(scraped(watched, OPENMETRICS))
        for sample in family.samples
        if sample.exemplar
    }
    assert traces >= {("striate_request_duration_seconds", TRACE), ("striate_requests", TRACE)}
    assert {trace for _, trace in traces} == {TRACE}


def test_a_request_has_an_id_by_which_caller_and_log_know_it(
    watched: LocalServer, stub: Stub, photo: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "striate_service.requests")
    request = ActivationsCall(images=small(photo), layers="mixed4a", reduce="mean").request()

    def answered(given: str) -> str:
        _, call = stub.Activations.with_call(request, metadata=[("x-request-id", given), ("striate-caller", "ann")])
        return str(dict(call.trailing_metadata())["x-request-id"])

    assert answered("order-17/a") == "order-17/a"
    for strange in ("two words", "x" * 129, ""):
        assert re.fullmatch("[0-9a-f]{32}", answered(strange))
    with (
        striate.Client(watched.target, metadata=[("x-request-id", "b-2")]) as client,
        pytest.raises(striate.NotFound) as failed,
    ):
        client.activations(small(photo), "nowhere")
    assert failed.value.request_id == "b-2"
    fields = [record.fields for record in caplog.records if record.name == "striate_service.requests"]  # type: ignore[attr-defined]
    assert [each["code"] for each in fields] == ["OK"] * 4 + ["NOT_FOUND"]
    assert {"decode", "queue", "transport", "compute", "encode", "seconds", "images"} <= fields[0].keys()
    assert "there is no layer" in fields[-1]["error"]
