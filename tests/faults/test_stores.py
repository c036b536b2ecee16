"""The label database is locked or broken, and disks are full; what does not need them is answered."""

from __future__ import annotations

import logging
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import striate
from conftest import settings
from striate_service.local import LocalServer
from striate_service.models.embedded.pictures import draw


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalServer]:
    with LocalServer(settings(tmp_path, devices=("cpu",))) as running:
        yield running


@pytest.mark.parametrize("fault", ["locked", "broken"])
def test_names_are_optional(local: LocalServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str) -> None:
    image = draw(0, "dog").image
    database = tmp_path / "labels.db"
    lock = sqlite3.connect(database)
    with striate.Client(local.target) as client:
        client.semantic_dictionary(image, "mixed4d", positions=[(1, 1)], neurons=2, icons=False)
        if fault == "locked":
            lock.execute("BEGIN EXCLUSIVE")
        else:
            database.write_bytes(b"no database" * 1000)
        started = time.monotonic()
        for _ in range(3):
            dictionary = client.semantic_dictionary(image, "mixed4d", positions=[(1, 1)], neurons=2, icons=False)
            assert {neuron.label.source for neuron in dictionary.at(1, 1)} == {"unavailable"}
        assert time.monotonic() - started < 8, "one waits for the database, and briefly"
        with pytest.raises(striate.Unavailable, match="label database"):
            client.set_label("mixed4d", 0, "dog")
    told = [record for record in caplog.records if "answers have no names" in record.message]
    assert [record.levelno for record in told] == [logging.ERROR]
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{local.metrics_port}/metrics").read().decode()
    assert "striate_names_unavailable_total 0.0" not in metrics
    lock.close()
