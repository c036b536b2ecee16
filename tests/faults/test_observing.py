"""A server that is killed while a monitor sees traffic loses nothing that it has acknowledged, and counts nothing
twice."""

from __future__ import annotations

import time
from pathlib import Path

import fragile
import numpy as np
import pytest
import striate
from serving import serving
from striate_service.stores.monitors import MonitorStore

IMAGES = 400


def picture(number: int) -> np.ndarray:
    """Return a picture that no other number has."""
    return np.random.default_rng(number).integers(0, 255, (fragile.SIDE, fragile.SIDE, 3), np.uint8)


@pytest.mark.promise(
    "a server is killed while a monitor sees traffic",
    "nothing that was acknowledged is lost; what the client sends again counts once",
)
def test_what_was_acknowledged_outlives_a_kill_and_counts_once(tmp_path: Path) -> None:
    with serving(tmp_path) as first, striate.Client(first.target, timeout=60) as client:
        layer = client.model().layers[0].name
        client.create_monitor("prod", [layer], window=IMAGES, pictures=False)
        watch = client.observe("prod", buffer=IMAGES)
        for number in range(IMAGES):
            assert watch.add(picture(number), id=f"image {number}")
        while watch.stored < IMAGES // 8:
            time.sleep(0.002)
        first.process.kill()
        first.process.wait()
        acknowledged = watch.stored
        assert acknowledged < IMAGES, "it was killed in the middle"
        kept = MonitorStore(f"sqlite:///{tmp_path / 'monitors.db'}")
        before = kept.get("prod")
        assert before is not None
        assert acknowledged <= before.observed_images < IMAGES
        with serving(tmp_path, port=int(first.target.rpartition(":")[2])):
            watch.close(timeout=120)
            assert (watch.stored, watch.dropped, watch.skipped) == (IMAGES, 0, 0)
            assert client.monitor("prod").observed_images == IMAGES
        found = kept.observations("prod", reference=False)
        kept.close()
    assert len(np.unique(found.codes, axis=0)) == len(found.ids) == IMAGES
