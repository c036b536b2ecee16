"""Every query of the dashboards finds something in a real Prometheus that scrapes a server under a short load."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import striate
from conftest import settings
from striate_service.explain.monitoring import gauges
from striate_service.local import LocalServer

PROMETHEUS = shutil.which("prometheus")
DASHBOARDS = Path(__file__).parents[2] / "deploy" / "grafana"

pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="Prometheus is not installed (Debian: prometheus)")

# What Grafana puts in place of variables where everything is chosen, at the scrape interval of this test.
VARIABLES = {"$__rate_interval": "10m", "$instance": ".*", "$model": ".*", "$monitor": ".*"}


def queries() -> list[tuple[str, str]]:
    """Return each query of each panel, and of each variable, with where it stands."""
    found = []
    for file in sorted(DASHBOARDS.glob("*.json")):
        dashboard = json.loads(file.read_text())
        for panel in dashboard["panels"]:
            found += [(f"{file.stem}: {panel['title']}", target["expr"]) for target in panel["targets"]]
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                listed = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
                assert listed
                found.append((f"{file.stem}: ${variable['name']}", f"count by ({listed[2]}) ({listed[1]})"))
    return found


def filled_in(query: str) -> str:
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    assert "$" not in query, query
    return query


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that has seen a server before, during and after its load."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gauges, "_INTERVAL", 0.2)
        server = LocalServer(settings(home, devices=("cpu",), max_message_bytes=4 * 2**20))
        with server, socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
            free.close()
            assert PROMETHEUS
            running = subprocess.Popen(
                [
                    PROMETHEUS,
                    f"--config.file={_configuration(home, server.metrics_port)}",
                    f"--storage.tsdb.path={home / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stderr=subprocess.DEVNULL,
            )
            address = f"http://127.0.0.1:{port}"
            try:
                _wait_for(address, "striate_build_info")
                _load(server)
                _wait_for(address, "striate_drift_score and on() striate_novelty and on() striate_prediction_drift")
                yield address
            finally:
                running.terminate()
                running.wait()


def _configuration(folder: Path, metrics_port: int) -> Path:
    targets = [{"targets": [f"127.0.0.1:{metrics_port}"]}]
    scraping = [{"job_name": "striate", "static_configs": targets}]
    file = folder / "prometheus.yml"
    file.write_text(json.dumps({"global": {"scrape_interval": "200ms"}, "scrape_configs": scraping}))
    return file


def _load(server: LocalServer) -> None:
    """Do a little of everything twice, since a rate needs two values."""
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(40)]
    with striate.Client(server.target, timeout=300) as client:
        client.factorize(pictures[:4], "mixed4a", components=2, save_as="found", icons=False)
        client.create_monitor("prod", ["mixed4a"], bases=["found"], reference=pictures, window=40)
        for _ in range(2):
            client.activations(pictures[:4], "mixed4a", reduce="mean")
            client.factorize(pictures[:4], "mixed4a", components=2)
            list(client.render_icons("mixed5b", channels=[0]))
            with pytest.raises(striate.MessageTooLarge):
                client.activations([np.zeros((1024, 1024, 3), np.uint8)] * 2, "mixed4a")
            with client.observe("prod") as watch:
                for picture in pictures[:35]:
                    watch.add(picture)
            time.sleep(0.5)  # two scrapes


def _ask(address: str, query: str) -> list[Any]:
    with urllib.request.urlopen(f"{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}") as reply:
        result: list[Any] = json.load(reply)["data"]["result"]
    return result


def _wait_for(address: str, query: str) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            if _ask(address, query):
                return
        except OSError:
            pass  # it has not started yet
        assert time.monotonic() < end, f"there is no {query}"
        time.sleep(0.1)


@pytest.mark.parametrize(("place", "query"), queries())
def test_every_query_finds_something(prometheus: str, place: str, query: str) -> None:
    values = [float(series["value"][1]) for series in _ask(prometheus, filled_in(query))]
    assert any(value == value for value in values), f"{place} has nothing but {values}"


def test_every_panel_can_be_of_any_data_source_and_instance() -> None:
    for file in DASHBOARDS.glob("*.json"):
        dashboard = json.loads(file.read_text())
        assert {"datasource", "instance"} < {variable["name"] for variable in dashboard["templating"]["list"]}
        for panel in dashboard["panels"]:
            assert panel["datasource"]["uid"] == "${datasource}"
            assert all("$instance" in target["expr"] for target in panel["targets"])
