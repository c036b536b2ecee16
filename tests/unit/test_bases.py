"""Bases are kept whole, once and for all, in a folder that several servers share."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from striate_service.stores.bases import BasisStore, DamagedBasis, LaterBasis, StoredBasis


def basis(name: str = "ears", seed: int = 0, version: str = "ab" * 32) -> StoredBasis:
    directions = np.random.default_rng(seed).random((3, 8), np.float32)
    return StoredBasis(
        name=name,
        model_version=version,
        model="parts",
        layer="mixed4a",
        directions=directions / np.linalg.norm(directions, axis=1, keepdims=True),
        colors=np.arange(9, dtype=np.uint8).reshape(3, 3),
        importance=np.array([0.5, 0.2, 0.1], np.float32),
        scale=2.5,
        relative_error=0.3,
        images=4,
        fit=1,
        rectify=False,
    )


def test_a_basis_is_found_again_by_another_server_on_the_same_folder(tmp_path: Path) -> None:
    saved = BasisStore(tmp_path).save(basis())
    found = BasisStore(tmp_path).get("ears")
    assert found is not None
    np.testing.assert_array_equal(found.directions, saved.directions)
    np.testing.assert_array_equal(found.colors, saved.colors)
    assert (found.created, found.scale, found.layer) == (saved.created, 2.5, "mixed4a")
    assert BasisStore(tmp_path).get("noses") is None


def test_a_basis_is_never_overwritten_but_saving_it_twice_is_no_mistake(tmp_path: Path) -> None:
    store = BasisStore(tmp_path)
    first = store.save(basis())
    assert store.save(basis()).created == first.created
    with pytest.raises(FileExistsError):
        store.save(basis(seed=1))
    with pytest.raises(FileExistsError):
        store.save(basis(version="cd" * 32))
    assert store.delete("ears")
    assert not store.delete("ears")
    store.save(basis(seed=1))


def test_of_two_that_save_a_name_at_once_one_wins(tmp_path: Path) -> None:
    def save(seed: int) -> bool:
        try:
            BasisStore(tmp_path).save(basis(seed=seed))
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(save, range(8))) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["ears.npz"], "nothing half-written stays"


def test_they_are_listed_by_name_and_a_damaged_one_costs_no_other(tmp_path: Path) -> None:
    store = BasisStore(tmp_path)
    for name, version in (("b", "ab" * 32), ("a", "cd" * 32), ("c", "ab" * 32)):
        store.save(basis(name, version=version))
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
    assert [each.name for each in store.list()] == ["a", "c"]
    assert [each.name for each in store.list("ab" * 32)] == ["c"]
    with pytest.raises(DamagedBasis, match=r"b\.npz.*delete it"):
        store.get("b")
    with pytest.raises(FileExistsError):
        store.save(basis("b"))


def test_a_basis_of_a_later_version_is_read_if_only_fields_were_added(tmp_path: Path) -> None:
    store = BasisStore(tmp_path)
    kept = store.save(basis())
    (file,) = tmp_path.glob("*.npz")
    with np.load(file) as content:
        arrays = dict(content)
    for changes in ({"mood": "good"}, {"format": 99}):
        facts = json.loads(arrays["facts"].tobytes()) | changes
        np.savez(file, **arrays | {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)})
        if "format" in changes:
            with pytest.raises(LaterBasis, match="later version"):
                store.get("ears")
        else:
            found = store.get("ears")
            assert found is not None
            assert found.is_the_same_as(kept)


def test_who_shares_a_store_may_read_it_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        BasisStore(tmp_path).save(basis())
    finally:
        os.umask(before)
    (file,) = tmp_path.glob("*.npz")
    assert file.stat().st_mode & 0o777 == 0o640
