"""Icons are never half there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from striate_service.stores.icons import IconAddress, IconStore

ADDRESS = IconAddress("ab" * 32, "mixed4a", "channel:3", "recipe")
PICTURE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


def test_an_icon_is_found_again_by_another_store_on_the_same_folder(tmp_path: Path) -> None:
    data = IconStore(tmp_path).put(ADDRESS, PICTURE)
    assert IconStore(tmp_path).get(ADDRESS) == data
    assert IconStore(tmp_path).get(IconAddress("cd" * 32, "mixed4a", "channel:3", "recipe")) is None, "other weights"


@pytest.mark.parametrize("damage", [b"", b"RIFF", b"not an image at all"])
def test_a_damaged_icon_is_not_served(tmp_path: Path, damage: bytes) -> None:
    store = IconStore(tmp_path)
    store.put(ADDRESS, PICTURE)
    (tmp_path / ADDRESS.path).write_bytes(damage)
    assert store.get(ADDRESS) is None
    data = store.put(ADDRESS, PICTURE)
    assert store.get(ADDRESS) == data


def test_a_shipped_icon_is_found_and_never_removed(tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    data = IconStore(shipped).put(ADDRESS, PICTURE)
    store = IconStore(tmp_path / "own", shipped=[shipped])
    assert store.get(ADDRESS) == data
    (shipped / ADDRESS.path).write_bytes(b"damaged")
    assert IconStore(tmp_path / "own", shipped=[shipped]).get(ADDRESS) is None
    assert (shipped / ADDRESS.path).exists()


def test_readers_never_see_half_an_icon(tmp_path: Path) -> None:
    store = IconStore(tmp_path)
    data = store.put(ADDRESS, PICTURE)
    with ThreadPoolExecutor(4) as threads:
        writes = [threads.submit(store.put, ADDRESS, PICTURE) for _ in range(20)]
        reads = [threads.submit(store.get, ADDRESS) for _ in range(40)]
        assert all(write.result() == data for write in writes)
        assert all(read.result() == data for read in reads)
    assert [file.name for file in (tmp_path / ADDRESS.path).parent.iterdir()] == [ADDRESS.path.name]
