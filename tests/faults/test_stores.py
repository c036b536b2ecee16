"""The label database is locked or broken, and disks are full; what does not need them is answered."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import striate
from conftest import settings
from striate_service.backends.local.spool import DiskBudget, FileSpool
from striate_service.backends.protocol import SpoolFull
from striate_service.local import LocalServer
from striate_service.models.embedded.pictures import draw


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def local(home: Path) -> Iterator[LocalServer]:
    with LocalServer(settings(home, devices=("cpu",))) as running:
        yield running


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS])
@pytest.mark.promise(
    "the disk is full, or read-only",
    "save_as, IndexExamples and BuildBasis end FAILED_PRECONDITION with the reason; the rest is answered",
    seen="INTERNAL",
)
def test_what_the_disk_does_not_take_is_told(local: LocalServer, monkeypatch: pytest.MonkeyPatch, reason: int) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(reason, os.strerror(reason), "/the/operators/own/path")

    images = [draw(number, "dog").image for number in range(2)]
    told = f"cannot be stored: {os.strerror(reason)} on the server"
    with striate.Client(local.target, timeout=120) as client, monkeypatch.context() as disk:
        disk.setattr("striate_service.stores.files.os.fsync", full)
        with pytest.raises(striate.FailedPrecondition, match=f"the basis 'dogs' {told}") as refused:
            client.factorize(images, "mixed5b", components=2, icons=False, save_as="dogs")
        assert "/the/operators" not in str(refused.value)
        with pytest.raises(striate.FailedPrecondition, match=f"the index of mixed5b {told}"):
            list(client.index_examples([striate.LabelledImage(image, "dog") for image in images], ["mixed5b"]))
        disk.setattr("striate_service.backends.local.spool.tempfile.TemporaryFile", full)
        with pytest.raises(striate.FailedPrecondition, match=told):
            list(client.build_basis("dogs", images, "mixed5b", components=2))
        disk.undo()
        assert not client.bases()
        client.factorize(images, "mixed5b", components=2, icons=False, save_as="dogs")
        assert [basis.name for basis in client.bases()] == ["dogs"]
        client.delete_basis("dogs")


@pytest.mark.promise(
    "the label database is locked",
    "answers come without names and say so; changes of names end UNAVAILABLE",
    seen="dictionaries failed, after 5 s each",
)
def test_names_are_optional(local: LocalServer, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(home / "labels.db")) as lock:
        check_names_are_optional(local, lambda: lock.execute("BEGIN EXCLUSIVE"), caplog)


@pytest.mark.promise(
    "the label database is broken",
    "answers come without names and say so; changes of names end UNAVAILABLE",
    seen="dictionaries failed",
)
def test_names_are_optional_also_if_their_file_is_broken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with LocalServer(settings(tmp_path, devices=("cpu",))) as server:
        check_names_are_optional(server, lambda: (tmp_path / "labels.db").write_bytes(b"no database" * 1000), caplog)


def check_names_are_optional(
    server: LocalServer, spoil: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    image = draw(0, "dog").image
    with striate.Client(server.target) as client:
        client.semantic_dictionary(image, "mixed4d", positions=[(1, 1)], neurons=2, icons=False)
        spoil()
        seconds = []
        for _ in range(4):
            started = time.monotonic()
            dictionary = client.semantic_dictionary(image, "mixed4d", positions=[(1, 1)], neurons=2, icons=False)
            assert {neuron.label.source for neuron in dictionary.at(1, 1)} == {"unavailable"}
            seconds.append(time.monotonic() - started)
        assert min(seconds) < 2, "not every answer waits for the database"
        with pytest.raises(striate.Unavailable, match="database does not answer"):
            client.set_label("mixed4d", 0, "dog")
    told = [record for record in caplog.records if "answers have no names" in record.message]
    assert [record.levelno for record in told] == [logging.ERROR]
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics").read().decode()
    assert "striate_names_unavailable_total 0.0" not in metrics


@pytest.mark.promise(
    "several bases are built at a time",
    "together they take at most `max_basis_bytes`",
    seen="the limit was each one's own, so that several filled the disk",
)
def test_bases_that_are_built_at_a_time_share_the_disk(tmp_path: Path) -> None:
    budget = DiskBudget(2**20)
    some = np.zeros((1, 64, 64, 64), np.float16)  # half of it
    with FileSpool(tmp_path, 64, budget) as first, FileSpool(tmp_path, 64, budget) as second:
        first.add(some)
        second.add(some)
        with pytest.raises(SpoolFull) as full:
            second.add(some[:, :, :1])
        assert not full.value.alone
    with FileSpool(tmp_path, 64, budget) as third:
        third.add(some)
        third.add(some)
        with pytest.raises(SpoolFull) as full:
            third.add(some[:, :, :1])
        assert full.value.alone
