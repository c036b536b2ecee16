"""No legal request brings a worker down: what would take too much of one is refused, and says what to change."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import numpy as np
import pytest
import striate
from conftest import settings
from striate_service.local import LocalServer
from striate_service.models.embedded.pictures import draw


def image() -> np.ndarray:
    return draw(0, "dog").image


@pytest.mark.promise(
    "a request would take a worker too long", "INVALID_ARGUMENT that names the field; no worker is lost"
)
def test_too_much_time_is_refused_before_it_is_spent(tmp_path: Path) -> None:
    server = LocalServer(settings(tmp_path, devices=("cpu",), batch_timeout=8.0))
    with server, striate.Client(server.target) as client:
        for _ in range(3):  # what is refused takes 5 to 50 times what is allowed, what is not a tenth
            client.activations(image(), "mixed3a")
        layer = client.model().layers[0].name
        path = {"attribution": "integrated_gradients", "classes": 20, "icons": False}
        too_long = r"would take about \d+ s, and at most 4 s"
        with pytest.raises(striate.InvalidArgument, match=f"{too_long}.* fewer steps") as no:
            client.semantic_dictionary(image(), layer, steps=256, **path)
        assert "layer" in no.value.violations
        activations = np.random.default_rng(0).random((4, 480, 80, 80), np.float32)
        with pytest.raises(striate.InvalidArgument, match=too_long) as no:
            client.factorize(activations=activations, components=64)
        assert "activations" in no.value.violations
        assert client.semantic_dictionary(image(), "mixed5b", steps=4, **path).effects.any()
        assert restarts(server) == 0


@pytest.mark.promise(
    "a request would take too much memory",
    "INVALID_ARGUMENT that names what to change",
    seen="2 GB in a worker, never given back; over 20 layers 9 GB",
)
def test_too_much_memory_is_refused_before_it_is_taken(tmp_path: Path) -> None:
    server = LocalServer(settings(tmp_path, devices=("cpu",), max_task_bytes=2**20))
    with server, striate.Client(server.target) as client:
        with pytest.raises(striate.InvalidArgument, match=r"MiB of memory, and at most 1 MiB .* fewer groups"):
            client.factorize([image()] * 16, "mixed3a", components=0, icons=False)
        assert client.activations(image(), "mixed5b", reduce="mean").predictions


def restarts(server: LocalServer) -> float:
    """Return how many workers have been replaced."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics") as reply:
        lines = reply.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("striate_worker_restarts_total"))
