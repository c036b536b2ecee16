"""Spans of client, server and worker are one trace, as an OpenTelemetry collector receives it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
from conftest import settings
from processes import wait_until, workers
from striate.v1 import interpretability_pb2 as messages
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceStub
from striate_service.backends.protocol import StartError
from striate_service.local import LocalServer

pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as otlp_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

CLIENT, SERVER, INTERNAL = Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER, Span.SPAN_KIND_INTERNAL
STAGES = {"decode", "queue", "transport", "compute", "encode"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

CALLER = """
import asyncio
import sys

import numpy as np
import striate

target, picture = sys.argv[1], np.zeros((64, 64, 3), np.uint8)
with striate.Client(target) as client:
    client.activations(picture, "mixed4a", reduce="mean")
assert not any(name.startswith("opentelemetry") for name in sys.modules), "nobody has asked for it"

from opentelemetry import trace

with striate.Client(target) as client, trace.get_tracer("shop").start_as_current_span("lost"):
    client.activations(picture, "mixed4a", reduce="mean")  # no provider: no span

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)


def blocking():
    with striate.Client(target) as client:
        client.activations(picture, "mixed4a", reduce="mean")
        try:
            client.activations(picture, "nowhere")
        except striate.NotFound:
            pass
        assert len(list(client.stream_activations([("a", picture)], "mixed4a", reduce="mean"))) == 1


async def awaited():
    async def images():
        yield "a", picture

    async with striate.aio.Client(target) as client:
        await client.activations(picture, "mixed4a", reduce="mean")
        try:
            await client.activations(picture, "nowhere")
        except striate.NotFound:
            pass
        assert len([each async for each in client.stream_activations(images(), "mixed4a", reduce="mean")]) == 1


with trace.get_tracer("shop").start_as_current_span("blocking"):
    blocking()
with trace.get_tracer("shop").start_as_current_span("awaited"):
    asyncio.run(awaited())
provider.shutdown()
"""


@dataclass
class Collector(otlp_grpc.TraceServiceServicer):
    """What a real one would show: each span, and the name of the service it is of."""

    spans: list[tuple[str, Span]] = field(default_factory=list)

    def Export(self, request: otlp.ExportTraceServiceRequest, context: Any) -> otlp.ExportTraceServiceResponse:  # noqa: N802
        for resource in request.resource_spans:
            service = attributes(resource.resource)["service.name"]
            self.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]
        return otlp.ExportTraceServiceResponse()

    def of(self, trace_id: bytes) -> list[Span]:
        return [span for _, span in self.spans if span.trace_id == trace_id]

    def below(self, parent: Span) -> list[Span]:
        return [span for span in self.of(parent.trace_id) if span.parent_span_id == parent.span_id]


def attributes(of: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in of.attributes}


@pytest.fixture(scope="module")
def collected() -> Iterator[tuple[Collector, str]]:
    """A collector, and its address."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    otlp_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collector, f"http://127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(scope="module")
def traced(collected: tuple[Collector, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that traces calls whose callers do."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected[1])
        environment.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=tests")
        with LocalServer(settings(tmp_path_factory.mktemp("home"), devices=("cpu",), tracing=True)) as server:
            environment.undo()
            yield server


@pytest.fixture(scope="module")
def traces(collected: tuple[Collector, str], traced: LocalServer) -> dict[str, Span]:
    """The outermost spans of a program that calls, by name."""
    collector, endpoint = collected
    subprocess.run(
        [sys.executable, "-c", CALLER, traced.target],
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SERVICE_NAME": "shop"},
        check=True,
    )
    wait_until(lambda: sum(span.kind == SERVER for _, span in collector.spans) == 6)
    return {span.name: span for _, span in collector.spans if not span.parent_span_id}


def of_kind(spans: list[Span], kind: int) -> list[Span]:
    return sorted((span for span in spans if span.kind == kind), key=lambda span: span.start_time_unix_nano)


@pytest.mark.parametrize("client", ["blocking", "awaited"])
def test_a_call_is_one_trace_of_client_server_and_worker(
    collected: tuple[Collector, str], traces: dict[str, Span], client: str
) -> None:
    collector, _ = collected
    assert traces.keys() == {"blocking", "awaited"}
    calls = collector.below(traces[client])
    assert [call.kind for call in calls] == [CLIENT] * 3
    for call, method, code in zip(
        of_kind(calls, CLIENT),
        ("Activations", "Activations", "StreamActivations"),
        (grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.OK),
        strict=True,
    ):
        (request,) = collector.below(call)
        assert request.kind == SERVER
        for span in (call, request):
            assert span.name == f"striate.v1.InterpretabilityService/{method}"
            told = attributes(span)
            assert (told["rpc.system"], told["rpc.service"], told["rpc.method"]) == (
                "grpc",
                "striate.v1.InterpretabilityService",
                method,
            )
            assert told["rpc.grpc.status_code"] == code.value[0]
        assert attributes(call)["server.address"] == "127.0.0.1"
        assert attributes(request)["striate.model"] == "parts"
        failed = code is not grpc.StatusCode.OK
        assert call.status.code == (Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET)
        assert request.status.code == Status.STATUS_CODE_UNSET, "a layer that is not there is its caller's error"
        stages = collector.below(request)
        assert {stage.name for stage in stages} == (set() if failed else STAGES)
        assert {stage.kind for stage in stages} <= {INTERNAL}


def test_every_span_lies_within_its_parent_and_the_worker_names_its_process(
    collected: tuple[Collector, str], traces: dict[str, Span]
) -> None:
    collector, _ = collected
    for outermost in traces.values():
        spans = collector.of(outermost.trace_id)
        by_id = {span.span_id: span for span in spans}
        for span in spans:
            assert span.start_time_unix_nano <= span.end_time_unix_nano
            if span.parent_span_id:
                parent = by_id[span.parent_span_id]
                assert parent.start_time_unix_nano <= span.start_time_unix_nano
                assert span.end_time_unix_nano <= parent.end_time_unix_nano
        for request in of_kind(spans, SERVER):
            inside = sorted(collector.below(request), key=lambda span: span.start_time_unix_nano)
            for earlier, later in pairwise(inside):
                assert earlier.end_time_unix_nano <= later.start_time_unix_nano, "one stage after the other"
        computed_by = {attributes(span).get("process.pid") for span in spans if span.name == "compute"}
        assert len(computed_by) == 1
        assert computed_by <= set(workers())
        assert not any("process.pid" in attributes(span) for span in spans if span.name != "compute")
    assert {service for service, _ in collector.spans} == {"shop", "striate"}


def test_a_missed_deadline_is_an_error_of_the_server(
    collected: tuple[Collector, str], traced: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    collector, _ = collected
    caplog.set_level("INFO", "striate_service.requests")
    over = threading.Event()

    def nothing() -> Iterator[messages.StreamActivationsRequest]:
        over.wait()
        yield from ()

    with grpc.insecure_channel(traced.target) as channel:
        stub = InterpretabilityServiceStub(channel)
        header = [("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01")]
        try:
            with pytest.raises(grpc.RpcError):
                next(stub.StreamActivations(nothing(), timeout=0.3, metadata=header))
        finally:
            over.set()
    wait_until(lambda: bool(collector.of(bytes.fromhex(TRACE))))
    (span,) = collector.of(bytes.fromhex(TRACE))
    assert span.parent_span_id.hex() == "00f067aa0ba902b7"
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert attributes(span)["rpc.grpc.status_code"] == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    (line,) = (record.fields for record in caplog.records if record.name == "striate_service.requests")  # type: ignore[attr-defined]
    assert (line["trace"], line["code"]) == (TRACE, "DEADLINE_EXCEEDED")


def test_without_the_extra_the_start_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "striate_service.monitoring.tracing", raising=False)
    with (
        pytest.raises(StartError, match=r"pip install 'striate\[otel\]'"),
        LocalServer(settings(tmp_path, tracing=True)),
    ):
        pass
