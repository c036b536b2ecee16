"""How many workers a container's limits allow, from folders as the kernel shows them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from striate_service.backends.local.cgroup import Allowance, allowance
from striate_service.backends.local.devices import WORKER_BYTES, choose_devices

GIB = 2**30
UNLIMITED_V1 = "9223372036854771712"


def made(folder: Path, membership: str, files: dict[str, str]) -> Allowance:
    """Return what is read from a made tree of control groups."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text}\n")
    (folder / "membership").write_text(f"{membership}\n")
    return allowance(folder, folder / "membership")


@pytest.mark.parametrize(
    ("membership", "files", "allowed"),
    [
        ("0::/", {"cpu.max": "150000 100000", "memory.max": "4294967296"}, Allowance(1.5, 4 * GIB)),
        ("0::/", {"cpu.max": "max 100000", "memory.max": "max"}, Allowance(None, None)),
        # A group has no more than those above it.
        (
            "0::/pods/one",
            {"pods/cpu.max": "400000 100000", "pods/memory.max": "1073741824", "pods/one/memory.max": "max"},
            Allowance(4.0, GIB),
        ),
        # What is told may lie outside of what a container sees.
        ("0::/../../elsewhere", {"cpu.max": "200000 100000"}, Allowance(2.0, None)),
        (
            "4:memory:/box\n3:cpu,cpuacct:/box",
            {
                "cpu,cpuacct/box/cpu.cfs_quota_us": "250000",
                "cpu,cpuacct/box/cpu.cfs_period_us": "100000",
                "memory/box/memory.limit_in_bytes": "2147483648",
                "memory/memory.limit_in_bytes": UNLIMITED_V1,
            },
            Allowance(2.5, 2 * GIB),
        ),
        (
            "4:memory:/\n3:cpu:/",
            {
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": UNLIMITED_V1,
            },
            Allowance(None, None),
        ),
    ],
)
def test_limits_are_read(tmp_path: Path, membership: str, files: dict[str, str], allowed: Allowance) -> None:
    assert made(tmp_path, membership, files) == allowed


def test_without_control_groups_there_are_no_limits(tmp_path: Path) -> None:
    assert allowance(tmp_path, tmp_path / "none") == Allowance(None, None)


@pytest.mark.parametrize(
    ("cpus", "gibibytes", "workers", "why"),
    [
        (None, None, 8, "16 cores"),
        (1.5, None, 1, "1.5 CPUs"),
        (0.5, None, 1, "0.5 CPUs"),
        (6.0, 64, 6, "6 CPUs"),
        (None, 4, 1, "memory"),
        (None, 0.5, 1, "memory"),
        (16.0, 10, 3, "memory"),
    ],
)
def test_no_more_workers_than_fit(
    cpus: float | None, gibibytes: float | None, workers: int, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    allowed = Allowance(cpus, None if gibibytes is None else int(gibibytes * GIB))
    with caplog.at_level(logging.INFO):
        devices = choose_devices("auto", 2 * GIB, allowed=allowed, cores=16, gpus=0)
    assert len(devices) == workers
    assert workers == 1 or allowed.memory is None or workers * (WORKER_BYTES + 2 * GIB) <= allowed.memory
    (line,) = caplog.messages
    assert why in line
    assert line.startswith(f"{workers} worker")


def test_workers_that_do_not_fit_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    devices = choose_devices(["cpu"] * 4, 2 * GIB, allowed=Allowance(2.0, 4 * GIB), cores=16, gpus=0)
    assert len(devices) == 4
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "4 workers" in record.message
