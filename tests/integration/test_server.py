"""What operators rely on: health, reflection, metrics, labels that stay, and a drain that loses nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import striate
from conftest import settings
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from striate_service.local import LocalServer


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """`striate serve` in a process of its own, its address, and that of its metrics."""
    command = [str(Path(sys.executable).with_name("striate")), "serve", "--port", "0", "--devices", "cpu"]
    environment = os.environ | {
        "STRIATE_HOME": str(tmp_path),
        "STRIATE_METRICS_PORT": "0",
        "STRIATE_CPU_ENGINE": "torch",
        "STRIATE_COMPILE_AHEAD": "false",
        "STRIATE_MAX_BATCH_SIZE": "16",
        "STRIATE_LOG_FORMAT": "json",
    }
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert running.stderr
    for line in running.stderr:
        if addresses := re.search(r"serving .*? on (\S+:\d+), metrics on (\S+)", json.loads(line)["message"]):
            break
    yield running, addresses[1], addresses[2]
    if running.poll() is None:
        running.kill()
    running.wait()


def read(url: str) -> str:
    return str(urllib.request.urlopen(url).read().decode())


def test_on_sigterm_what_was_accepted_is_answered(
    process: tuple[subprocess.Popen[str], str, str], photo: np.ndarray
) -> None:
    running, target, metrics = process
    with striate.Client(target) as client, ThreadPoolExecutor(6) as callers:
        client.models()
        answers = [
            callers.submit(client.activations, [photo[::4, ::4]] * 64, "mixed5b", reduce="mean") for _ in range(6)
        ]
        while 'striate_requests_in_progress{method="Activations"} 6.0' not in read(metrics):
            assert not all(answer.done() for answer in answers), "too quick to be caught at work"
            time.sleep(0.01)
        running.send_signal(signal.SIGTERM)
        assert all(len(answer.result().predictions) == 64 for answer in answers)
    assert running.wait(timeout=30) == 0
    assert running.stderr
    lines = [json.loads(line) for line in running.stderr]
    logged = [line for line in lines if line.get("method") == "Activations"]
    assert [(line["code"], line["images"], line["model"]) for line in logged] == [("OK", 64, "parts")] * 6
    assert all(line["compute"] <= line["seconds"] and line["request"] and line["caller"] for line in logged)


def test_health_is_told_for_the_server_and_each_service(server: LocalServer) -> None:
    with grpc.insecure_channel(server.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "InterpretabilityService", "ModelService", "LabelService"):
            request = health_pb2.HealthCheckRequest(service=name and f"striate.v1.{name}")
            assert stub.Check(request).status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_services(server: LocalServer) -> None:
    with grpc.insecure_channel(server.target) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        response = next(iter(stub.ServerReflectionInfo(iter([request]))))
    names = {service.name for service in response.list_services_response.service}
    assert names >= {f"striate.v1.{name}Service" for name in ("Interpretability", "Model", "Label")}


def test_labels_name_neurons_and_outlive_the_server(tmp_path: Path, photo: np.ndarray) -> None:
    own = settings(tmp_path, devices=("cpu",))
    with LocalServer(own) as server, striate.Client(server.target) as client:
        dictionary = client.semantic_dictionary(photo, "conv2", positions=[(1, 1)], neurons=1, icons=False)
        channel = dictionary.at(1, 1)[0].channel
        client.set_label("conv2", channel, "stripes", author="ann")
        client.set_label("conv2", channel, "<b>edges</b>", author="bob")
    with LocalServer(own) as server, striate.Client(server.target) as client:
        found = client.semantic_dictionary(photo, "conv2", positions=[(1, 1)], neurons=1, icons=False)
        assert found.at(1, 1)[0].name == "<b>edges</b>"
        assert "<b>edges</b>" not in found.to_html(), "names are text, not markup"
        assert [label.text for label in client.labels("conv2", history=True)][:2] == ["<b>edges</b>", "stripes"]
        client.delete_label("conv2", channel)
        assert "<b>edges</b>" not in [label.text for label in client.labels("conv2")]
        with pytest.raises(striate.NotFound):
            client.delete_label("conv2", channel)


def test_a_model_that_cannot_be_loaded_ends_the_start_with_its_reason(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("striate")), "serve", "--port", "0", "--metrics-port", "-1"]
    environment = os.environ | {"STRIATE_HOME": str(tmp_path)}
    for model, reason in (
        ("net=resnet18:nowhere.pth", "there is no weights file nowhere.pth"),  # others: tests/unit/test_loading.py
        ("net", "NAME=ARCHITECTURE:WEIGHTS"),
    ):
        ended = subprocess.run(
            [*command, "--model", model], capture_output=True, text=True, env=environment, timeout=60
        )
        assert ended.returncode != 0
        assert reason in " ".join(re.sub(r"[│╭╮╰╯─]", " ", ended.stderr).split())
        assert "Traceback" not in ended.stderr


def test_weights_that_cannot_be_fetched_are_named_with_what_to_do(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("striate")), "serve", "--port", "0", "--metrics-port", "-1"]
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "TORCH_HOME": str(tmp_path)}
    environment = os.environ | {"STRIATE_HOME": str(tmp_path)} | nowhere
    command += ["--model", "googlenet=googlenet:torchvision"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert ended.returncode == 1
    said = ended.stderr
    assert "weights for googlenet could not be fetched" in said
    assert "https://download.pytorch.org/models/googlenet" in said
    assert "googlenet:FILE.pth" in said
    assert "Traceback" not in said


async def test_the_awaited_client_gives_the_same_answers(server: LocalServer, photo: np.ndarray) -> None:
    with striate.Client(server.target) as blocking:
        expected = blocking.factorize(photo, "mixed4a", components=3, icons=False)
        async with striate.aio.Client(server.target) as client:
            found = await client.factorize(photo, "mixed4a", components=3, icons=False)
            acts = await client.activations(photo, ["mixed4a", "mixed4b"], reduce="mean")
            models = await client.models()

            async def two() -> object:
                yield "a", photo
                yield "b", photo

            streamed = {key: answer async for key, answer in client.stream_activations(two(), "mixed4a", reduce="mean")}
            with pytest.raises(striate.NotFound):
                await client.activations(photo, "nowhere")
        assert blocking.models() == models
    np.testing.assert_array_equal(found.spatial, expected.spatial)
    assert set(acts) == {"mixed4a", "mixed4b"}
    np.testing.assert_allclose(streamed["b"]["mixed4a"], acts["mixed4a"], rtol=1e-5)


def test_a_local_client_needs_no_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, graphs: Path, photo: np.ndarray
) -> None:
    (tmp_path / "onnx").symlink_to(graphs)
    monkeypatch.setenv("STRIATE_HOME", str(tmp_path))
    with striate.local() as client:
        assert client.models()[0].name == "parts"
        assert client.activations(photo, "mixed4a", reduce="mean")["mixed4a"].shape == (1, 160)
