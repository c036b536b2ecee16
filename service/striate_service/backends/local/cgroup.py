"""What a container, or a service manager, allows this process: CPUs and memory of its control group and those above it.

Version 2 has one tree, version 1 one for each resource (kernel.org: admin-guide/cgroup-v2, admin-guide/cgroup-v1).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_NO_LIMIT = 2**60
"""Bytes. Version 1 writes the largest number of pages where there is no limit."""


@dataclass(frozen=True)
class Allowance:
    cpus: float | None
    """None: as many as there are."""
    memory: int | None
    """Bytes. None: as much as there is."""


def allowance(root: Path = _ROOT, membership: Path = _MEMBERSHIP) -> Allowance:
    """Return the tightest limits of this process's control groups.

    Args:
        root: where the trees are mounted.
        membership: says which group of each tree the process is in: "4:memory:/a/b", and "0::/a/b" of version 2.
    """
    paths = _groups(membership)
    cpus = [*_cpus_v2(root, paths.get("", "/")), *_cpus_v1(root, paths.get("cpu", "/"))]
    memory = [*_memory_v2(root, paths.get("", "/")), *_memory_v1(root, paths.get("memory", "/"))]
    return Allowance(min(cpus, default=None), min(memory, default=None))


def _groups(membership: Path) -> dict[str, str]:
    """Return the process's group by controller; that of version 2's only tree under the empty name."""
    try:
        lines = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:  # no Linux
        return {}
    return {name: path for _, names, path in lines for name in names.split(",")}


def _cpus_v2(root: Path, path: str) -> Iterator[float]:
    for text in _texts(root, path, "cpu.max"):
        quota, _, period = text.partition(" ")
        if quota != "max":
            yield int(quota) / int(period or 100_000)


def _cpus_v1(root: Path, path: str) -> Iterator[float]:
    for tree in ("cpu", "cpu,cpuacct"):
        quotas, periods = (list(_texts(root / tree, path, f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
        yield from (int(quota) / int(period) for quota, period in zip(quotas, periods, strict=True) if int(quota) > 0)


def _memory_v2(root: Path, path: str) -> Iterator[int]:
    yield from (int(text) for text in _texts(root, path, "memory.max") if text != "max")


def _memory_v1(root: Path, path: str) -> Iterator[int]:
    sizes = map(int, _texts(root / "memory", path, "memory.limit_in_bytes"))
    yield from (size for size in sizes if size < _NO_LIMIT)


def _texts(tree: Path, path: str, name: str) -> Iterator[str]:
    """Yield what a file says in a group and all above it, as far as they can be seen.

    A container sees its own group as the root, and may be told a path that it does not see.
    """
    group = tree / path.strip("/")
    for folder in (group, *group.parents):
        with contextlib.suppress(OSError):  # the root of a machine has no limits
            yield (folder / name).read_text().strip()
        if folder == tree:
            return
