"""Icons are never half there."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from striate_service.stores.folder import Folder
from striate_service.stores.icons import IconAddress, IconStore
from striate_service.stores.leases import Held, Lease, Leases
from striate_service.stores.unfinished import Unfinished

ADDRESS = IconAddress("ab" * 32, "mixed4a", "channel:3", "recipe")
PICTURE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


def test_an_icon_is_found_again_by_another_store_on_the_same_folder(tmp_path: Path) -> None:
    data = IconStore(Folder(tmp_path)).put(ADDRESS, PICTURE)
    assert IconStore(Folder(tmp_path)).get(ADDRESS) == data
    assert IconStore(Folder(tmp_path)).get(IconAddress("cd" * 32, "mixed4a", "channel:3", "recipe")) is None, (
        "other weights"
    )


@pytest.mark.parametrize("damage", [b"", b"RIFF", b"not an image at all"])
def test_a_damaged_icon_is_not_served(tmp_path: Path, damage: bytes) -> None:
    IconStore(Folder(tmp_path)).put(ADDRESS, PICTURE)
    (tmp_path / ADDRESS.path).write_bytes(damage)
    store = IconStore(Folder(tmp_path))
    assert store.get(ADDRESS) is None
    data = store.put(ADDRESS, PICTURE)
    assert store.get(ADDRESS) == data


def test_a_shipped_icon_is_found_and_never_removed(tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    data = IconStore(Folder(tmp_path)).put(ADDRESS, PICTURE)
    (shipped / ADDRESS.path).parent.mkdir(parents=True)
    (shipped / ADDRESS.path).write_bytes(data)
    store = IconStore(Folder(tmp_path / "own"), [shipped])
    assert store.get(ADDRESS) == data
    (shipped / ADDRESS.path).write_bytes(b"damaged")
    assert IconStore(Folder(tmp_path / "own"), [shipped]).get(ADDRESS) is None
    assert (shipped / ADDRESS.path).exists()


def test_readers_never_see_half_an_icon(tmp_path: Path) -> None:
    store = IconStore(Folder(tmp_path))
    data = store.put(ADDRESS, PICTURE)
    with ThreadPoolExecutor(4) as threads:
        writes = [threads.submit(store.put, ADDRESS, PICTURE) for _ in range(20)]
        reads = [threads.submit(store.get, ADDRESS) for _ in range(40)]
        assert all(write.result() == data for write in writes)
        assert all(read.result() == data for read in reads)
    assert [file.name for file in (tmp_path / ADDRESS.path).parent.iterdir()] == [Path(ADDRESS.path).name]


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    IconStore(Folder(tmp_path)).put(ADDRESS, PICTURE)
    file = tmp_path / ADDRESS.path
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert IconStore(Folder(tmp_path)).get(ADDRESS) is None


def test_what_was_not_used_for_longest_makes_room() -> None:
    now = 0.0
    folder = Folder("memory://eviction")
    addresses = [replace(ADDRESS, objective=f"channel:{number}") for number in range(12)]
    size = len(IconStore(folder).put(addresses[0], PICTURE)) + 32
    store = IconStore(folder, max_bytes=10 * size, clock=lambda: now)
    for address in addresses[:10]:
        store.put(address, PICTURE)
    now = 7200.0
    assert store.get(addresses[0]) is not None, "used again, an hour later"
    store.put(addresses[10], PICTURE)
    store.put(addresses[11], PICTURE)
    fresh = IconStore(folder)
    kept = [number for number, address in enumerate(addresses) if fresh.get(address)]
    assert len(kept) * size <= 10 * size
    assert {0, 10, 11} <= set(kept)
    assert 1 not in kept


@pytest.mark.parametrize("url", ["memory://leases", "a folder"])
def test_one_of_several_servers_gets_a_lease_until_it_lapses(url: str, tmp_path: Path) -> None:
    now = 1000.0
    place = str(tmp_path) if url == "a folder" else url
    servers = [Leases(Folder(place), seconds=10, clock=lambda: now) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda leases: leases.take("v/layer/icon"), servers))
    (lease,) = (each for each in taken if isinstance(each, Lease))
    servers[0].renew(lease, progress=0.5)
    now += 9
    assert servers[1].take("v/layer/icon") == Held(0.5)
    assert isinstance(servers[1].take("v/layer/other"), Lease)
    now += 2  # its owner was killed
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda leases: leases.take("v/layer/icon"), servers))
    (successor,) = (each for each in taken if isinstance(each, Lease))
    servers[0].release([successor])
    assert isinstance(servers[1].take("v/layer/icon"), Lease)


def test_a_lease_of_a_later_version_holds_nobody_back(tmp_path: Path) -> None:
    leases = Leases(Folder(str(tmp_path)), seconds=1000)
    lease = leases.take("v/layer/icon")
    assert isinstance(lease, Lease)
    file = tmp_path / lease.path
    content = json.loads(file.read_bytes())
    assert content["format"] == 1
    for changed, held in (({"format": 99}, False), ({"format": 0}, True)):
        file.write_text(json.dumps(content | changed))
        assert isinstance(leases.take("v/layer/icon"), Held if held else Lease)
        (tmp_path / f"{lease.path[:-1]}1").unlink(missing_ok=True)  # the second lease


def test_a_damaged_unfinished_optimization_begins_anew(tmp_path: Path) -> None:
    unfinished = Unfinished(tmp_path)
    unfinished.save("v/layer/icon", {"step": np.array(3), "spectrum": PICTURE})
    loaded = unfinished.load("v/layer/icon")
    assert loaded is not None
    np.testing.assert_array_equal(loaded["spectrum"], PICTURE)
    with np.load(tmp_path / "v/layer/icon.npz") as whole:
        later = dict(whole) | {"format": np.array(99)}
    np.savez(tmp_path / "v/layer/later.npz", **later)
    assert unfinished.load("v/layer/later") is None, "a later version's"
    file = tmp_path / "v/layer/icon.npz"
    file.write_bytes(file.read_bytes()[:500])
    assert unfinished.load("v/layer/icon") is None
    assert not file.exists()
