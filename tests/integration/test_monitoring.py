"""Monitors on a real server: what they keep, what they say has drifted, and what they refuse."""

from __future__ import annotations

import asyncio
import io
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import grpc
import numpy as np
import pytest
import striate
import torch
from conftest import answer
from PIL import Image
from safetensors.torch import load_file
from striate import ObservedImage
from striate.v1 import monitoring_pb2
from striate.v1.monitoring_pb2_grpc import MonitoringServiceStub
from striate_service.local import LocalServer
from striate_service.models.embedded import WEIGHTS
from striate_service.models.embedded.feed import normalize
from striate_service.models.embedded.network import parts
from striate_service.models.embedded.pictures import draw
from striate_service.models.layers import capture
from striate_service.stores.monitors import MonitorStore
from striate_service.techniques import drift

LAYER = "mixed4d"
VEHICLES = ("car", "bus", "truck", "bicycle")


def pictures(count: int, seed: int, without: str = "") -> list[np.ndarray]:
    missing = frozenset({without} - {""})
    return [
        draw(np.random.default_rng([seed, number]), VEHICLES[number % 4], without=missing).image
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def reference() -> list[np.ndarray]:
    return pictures(160, seed=1)


@pytest.fixture
def names(client: striate.Client) -> Iterator[None]:
    """No monitor is left behind."""
    yield
    for each in client.list_monitors():
        client.delete_monitor(each.name)


@pytest.mark.usefixtures("names")
async def test_vehicles_without_wheels_are_told(either: Any, reference: list[np.ndarray]) -> None:
    made = await answer(either.create_monitor("prod", [LAYER], reference=reference, window=120))
    assert (made.reference_images, made.observed_images, made.layers) == (160, 0, (LAYER,))
    async with either.observe("prod") as watch:
        for number, image in enumerate(pictures(120, seed=2, without="wheel")):
            assert watch.add(image, slice=f"camera-{number % 2}")
    assert (watch.stored, watch.dropped, watch.skipped) == (120, 0, 0)
    found = await answer(either.drift("prod", items=5))
    assert found.significant
    assert (found.images, found.reference_images) == (120, 160)
    assert found.channels[0].name == "wheel"  # as dissection named it
    first = found.concepts[0]
    assert (first.name, first.channels, first.significant) == ("wheel", 7, True)
    assert 1 < first.score < first.most_drifted.score == found.channels[0].score
    assert {each.most_drifted.label.text for each in found.concepts} == {each.name for each in found.concepts}
    assert len(first.most_drifted.window_files) == 3
    assert found.channels[0].change.now < found.channels[0].change.before
    assert found.channels[0].score > 1 >= found.channels[0].p_value / 0.001
    assert {slice.name: slice.images for slice in found.slices} == {"camera-0": 60, "camera-1": 60}
    assert set(found.channels[0].slices) == {"camera-0", "camera-1"}
    assert found.layers[0].significant_channels >= 1
    shown = [
        picture
        for each in (found.channels[0].reference_pictures, found.channels[0].window_pictures)
        for picture in each
    ]
    assert [picture.size for picture in shown] == [(112, 112)] * 6
    page = found.to_html()
    assert "Most drifted: <b>wheel</b>" in page
    assert page.count("data:image/webp") >= 6


@pytest.mark.usefixtures("names")
def test_more_of_the_same_has_not_drifted(client: striate.Client, reference: list[np.ndarray]) -> None:
    client.create_monitor("prod", [LAYER], reference=reference, window=120)
    list(client.observe_images("prod", pictures(120, seed=3)))
    found = client.drift("prod")
    assert not found.significant
    assert "Nothing has drifted" in found.to_html()


@pytest.mark.usefixtures("names")
def test_what_is_kept_is_what_hooks_see(client: striate.Client, server: LocalServer, home: Any) -> None:
    """Peaks and means of the network itself, in this process, to the width of a bin."""
    given = pictures(6, seed=4)
    client.create_monitor("prod", [LAYER])
    list(client.observe_images("prod", given))
    kept = MonitorStore(f"sqlite:///{home / 'monitors.db'}").observations("prod", reference=False)
    network = parts()
    network.load_state_dict(load_file(WEIGHTS))
    with torch.inference_mode():
        inputs = normalize(torch.from_numpy(np.stack(given)))
        layer = capture(network.eval(), inputs, [LAYER]).layers[LAYER]
        predicted = network(inputs).argmax(1)
    expected = torch.cat([layer.amax((2, 3)), layer.mean((2, 3))], 1).numpy()
    values = drift.decoded()[kept.codes[:, : expected.shape[1]]]
    np.testing.assert_allclose(values, expected, rtol=0.09, atol=2e-4)
    assert kept.predicted.tolist() == predicted.tolist()


@pytest.mark.usefixtures("names")
def test_groups_of_a_basis_and_what_they_leave_out_are_watched(
    client: striate.Client, reference: list[np.ndarray]
) -> None:
    client.factorize(reference[:16], LAYER, components=6, save_as="vehicles", icons=False)
    try:
        client.create_monitor("groups", bases=["vehicles"], reference=reference[:80], window=60)
        seen = [np.rot90(image).copy() for image in pictures(60, seed=5)]
        list(client.observe_images("groups", [ObservedImage(image, id=str(n)) for n, image in enumerate(seen)]))
        grouped = client.factorize(seen, basis="vehicles", classes=1, icons=False)
        strongest = grouped.spatial.mean((1, 2)).argmax(1)
        predicted = [each[0][0] for each in grouped.predictions]
        right = np.arange(60) % 3 > 0
        client.add_outcomes("groups", {str(n): predicted[n] if right[n] else "teapot" for n in range(0, 60, 2)})
        found = client.drift("groups", icons=False)
        for group in found.groups:
            own = strongest == group.group
            known = own & (np.arange(60) % 2 == 0)
            # Uses are kept to 16 %: where two are as large, either may be taken for the larger.
            assert group.dominant_images == pytest.approx(own.sum(), abs=4)
            assert group.outcomes == pytest.approx(known.sum(), abs=4)
            if known.sum() > 8:
                assert group.accuracy == pytest.approx(right[known].mean(), abs=0.2)
        assert sum(group.dominant_images for group in found.groups) == 60
        assert sum(group.outcomes for group in found.groups) == 30
        layer = found.layers[0] if found.layers else None
        assert layer is None or layer.saturated_channels == 0, "ReLU has no upper end"
        assert {group.basis for group in found.groups} == {"vehicles"}
        assert len(found.groups) == 6
        assert 0 < found.bases[0].novelty_before < found.bases[0].novelty_now < 1  # nobody has seen such pictures
        client.delete_basis("vehicles")
        with pytest.raises(striate.FailedPrecondition, match="watches a basis that is gone"):
            client.drift("groups")
    finally:
        if any(basis.name == "vehicles" for basis in client.bases()):
            client.delete_basis("vehicles")


@pytest.mark.usefixtures("names")
def test_an_image_that_is_sent_again_counts_once_and_its_outcome_is_added(client: striate.Client) -> None:
    given = [ObservedImage(image, id=f"photo {number}", slice="a") for number, image in enumerate(pictures(40, seed=6))]
    client.create_monitor("prod", [LAYER], reference=8, window=30)
    *_, last = client.observe_images("prod", given)
    assert (last.stored, last.repeated) == (40, 0)
    *_, last = client.observe_images("prod", given[:20])
    assert (last.stored, last.repeated) == (20, 20)
    monitor = client.monitor("prod")
    assert (monitor.reference_images, monitor.observed_images) == (8, 32)
    wrong = {each.id: "teapot" for each in given[20:25]}
    assert client.add_outcomes("prod", wrong | {"never seen": "teapot"}) == 5
    (summary,) = client.drift("prod", items=0).slices
    assert (summary.images, summary.outcomes, summary.accuracy) == (30, 5, 0)  # a window of 30


@pytest.mark.usefixtures("names")
def test_images_that_cannot_be_read_are_named_and_the_others_count(client: striate.Client) -> None:
    client.create_monitor("prod", [LAYER], pictures=False)
    image = pictures(1, seed=8)[0]
    updates = list(client.observe_images("prod", [image, ObservedImage(b"no image", id="broken"), image]))
    assert updates[-1].stored == 2
    assert [name for update in updates for name, _ in update.skipped] == ["broken"]


@pytest.mark.usefixtures("names")
def test_gauges_tell_monitoring(client: striate.Client, server: LocalServer, reference: list[np.ndarray]) -> None:
    client.create_monitor("prod", [LAYER], reference=reference[:60], window=30)
    list(client.observe_images("prod", pictures(30, seed=2, without="wheel")))
    wanted = (f'striate_drift_score{{layer="{LAYER}",monitor="prod"}}', 'striate_window_images{monitor="prod"} 30.0')
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics") as reply:
            text = reply.read().decode()
        if all(each in text for each in wanted):
            return
        time.sleep(0.5)
    pytest.fail("the gauges did not appear")


def test_a_watch_never_holds_up_its_caller(server: LocalServer) -> None:
    """Nobody listens there: what does not fit into the buffer is dropped, and counted."""
    with striate.Client("127.0.0.1:9") as lost:
        watch = lost.observe("prod", buffer=4)
        image = np.zeros((8, 8, 3), np.uint8)
        taken = [watch.add(image) for _ in range(200)]
        assert not all(taken)
        watch.close(timeout=0)
        assert watch.stored == 0
        assert watch.dropped == 200


@pytest.mark.usefixtures("names")
def test_a_watch_of_a_monitor_that_is_not_there_says_so(client: striate.Client) -> None:
    watch = client.observe("nobody")
    watch.add(np.zeros((8, 8, 3), np.uint8))
    while watch.error is None:
        time.sleep(0.01)
    assert not watch.add(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(striate.NotFound, match="no monitor 'nobody'"):
        watch.close()


@pytest.mark.usefixtures("names")
def test_an_image_that_no_message_can_hold_is_skipped_and_counted(client: striate.Client, server: LocalServer) -> None:
    client.create_monitor("prod", [LAYER])
    large = np.zeros((512, 512, 3), np.uint8)  # 768 KiB
    with striate.Client(server.target, max_message_bytes=2**20) as narrow:
        watch = narrow.observe("prod")
        for image in (large, pictures(1, seed=8)[0], large):
            assert watch.add(image)
        watch.close(timeout=20)
    assert (watch.stored, watch.skipped, watch.dropped) == (1, 2, 0)


@pytest.mark.usefixtures("names")
def test_a_sample_of_traffic_is_sent(client: striate.Client) -> None:
    client.create_monitor("prod", [LAYER])
    image = pictures(1, seed=8)[0]
    with client.observe("prod", sample_rate=0.1) as watch:
        for _ in range(100):
            watch.add(image)
    assert 0 < watch.stored < 40
    assert watch.dropped == 0


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda client: client.create_monitor("a b", [LAYER]), striate.InvalidArgument, "name: is 'a b'"),
        (lambda client: client.create_monitor("m"), striate.InvalidArgument, "layers: is empty"),
        (lambda client: client.create_monitor("m", ["mixed4z"]), striate.NotFound, "did you mean 'mixed4"),
        (lambda client: client.create_monitor("m", [LAYER], window=5), striate.InvalidArgument, "window: is 5"),
        (lambda client: client.create_monitor("m", bases=["x"]), striate.NotFound, "no basis 'x'"),
        (lambda client: client.create_monitor("prod", [LAYER]), striate.AlreadyExists, "a monitor 'prod'"),
        (lambda client: client.drift("prod"), striate.FailedPrecondition, "has no image of the reference yet"),
        (lambda client: client.drift("prd"), striate.NotFound, "did you mean 'prod'"),
        (lambda client: client.drift("prod", items=999), striate.InvalidArgument, "items: is 999"),
        (lambda client: client.drift("prod", slice="x"), striate.NotFound, "no slice 'x'; images have none"),
        (
            lambda client: client.add_outcomes("prod", {"a": "no class"}),
            striate.InvalidArgument,
            "outcomes.0..class_name",
        ),
        (
            lambda client: list(client.observe_images("prod", [ObservedImage(b"", id="x" * 300)])),
            striate.InvalidArgument,
            "id: has 300",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(client: striate.Client, call: Any, error: type, says: str) -> None:
    client.create_monitor("prod", [LAYER])
    with pytest.raises(error, match=says):
        call(client)


def test_an_impossible_time_is_refused(client: striate.Client, server: LocalServer) -> None:
    client.create_monitor("time", [LAYER])
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    image = monitoring_pb2.ObservedImage(id="a")
    image.image.encoded = buffer.getvalue()
    image.time.seconds = 10**15
    requests = [
        monitoring_pb2.ObserveRequest(start=monitoring_pb2.ObserveStart(monitor="time")),
        monitoring_pb2.ObserveRequest(images=monitoring_pb2.ObserveImages(images=[image])),
    ]
    with grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError) as refused:
        list(MonitoringServiceStub(channel).Observe(iter(requests), timeout=20))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    client.delete_monitor("time")


def test_times_of_any_zone_are_taken(client: striate.Client) -> None:
    client.create_monitor("time", [LAYER], pictures=False)
    zoned = ObservedImage(pictures(1, seed=1)[0], time=datetime(2026, 1, 1, tzinfo=timezone.utc))
    *_, last = client.observe_images("time", [zoned])
    assert last.stored == 1
    client.delete_monitor("time")


def test_two_stores_on_one_database_are_one(tmp_path: Any) -> None:
    """Two servers that observe halves of a stream keep what one would, in any order."""
    from striate_service.stores.monitors import Observation, StoredMonitor

    random = np.random.default_rng(0)
    images = [
        Observation(f"image {number}", random.integers(0, 255, 40).astype(np.uint8), number % 3)
        for number in range(1500)
    ]
    kept = []
    for name, orders in (("one", [range(1500)]), ("two", [range(0, 1500, 2), range(1499, 0, -2)])):
        stores = [MonitorStore(f"sqlite:///{tmp_path / name}.db") for _ in orders]
        stores[0].create(StoredMonitor("m", "parts", "0" * 64, (LAYER,), (), 500, 0, True, 1), 9)
        for store, order in zip(stores, orders, strict=True):
            chosen = [images[number] for number in order]
            for start in range(0, len(chosen), 100):
                store.add("m", chosen[start : start + 100], reference=True)
        found = stores[-1].observations("m", reference=True)
        kept.append({codes.tobytes() for codes in found.codes})
        assert len(found.codes) == 1024
        for store in stores:
            store.close()
    assert kept[0] == kept[1]


@pytest.mark.usefixtures("names")
async def test_profiles_of_halves_are_that_of_the_whole(
    either: Any, client: striate.Client, home: Any, tmp_path: Any, reference: list[np.ndarray]
) -> None:
    """As of servers that know nothing of each other: each has seen a half of the reference and of the stream."""
    usual = [ObservedImage(image, id=f"usual {number}") for number, image in enumerate(reference[:60])]
    stream = [
        ObservedImage(image, id=f"image {number}", slice="ab"[number % 2], time=datetime(2026, 1, 1, 0, number))
        for number, image in enumerate(pictures(50, seed=2, without="wheel"))
    ]
    for name, part in (("whole", slice(None)), ("even", slice(0, None, 2)), ("odd", slice(1, None, 2))):
        client.create_monitor(name, [LAYER], reference=usual[part], window=40)
        list(client.observe_images(name, stream[part]))
    client.add_outcomes("even", {stream[48].id: "car"})
    client.add_outcomes("whole", {stream[48].id: "car"})
    for name in ("even", "odd"):
        striate.write_profile(tmp_path / name, await answer(either.export_profile(name)))
    profiles = [striate.read_profile(tmp_path / name) for name in ("even", "odd")]
    assert [(each.reference_images, each.window_images) for each in profiles] == [(30, 25), (30, 25)]
    made = await answer(either.create_monitor("merged", reference=profiles[0], window=40))
    assert (made.layers, made.reference_images, made.observed_images) == ((LAYER,), 30, 0)
    assert [await answer(either.import_profile("merged", each)) for each in (*profiles, *profiles)] == [25, 55, 0, 0]
    expected, found = client.drift("whole", icons=False), client.drift("merged", icons=False)
    assert (found.images, found.reference_images, found.significant) == (40, 60, True)
    assert [(each.name, each.score) for each in found.channels] == [
        (each.name, pytest.approx(each.score)) for each in expected.channels
    ]
    assert [str(each) for each in found.slices] == [str(each) for each in expected.slices]
    assert found.channels[0].window_files == expected.channels[0].window_files


@pytest.mark.usefixtures("names")
def test_a_profile_that_cannot_be_is_refused_by_its_field(client: striate.Client, tmp_path: Any) -> None:
    client.create_monitor("prod", [LAYER], reference=pictures(3, seed=1))
    client.create_monitor("other", ["mixed5b"])
    profile = client.export_profile("prod")
    with pytest.raises(striate.InvalidArgument, match=r"profile.layers: are not the monitor's, which are mixed5b"):
        client.import_profile("other", profile)

    def spoilt(change: Any) -> striate.Profile:
        message = monitoring_pb2.Profile.FromString(profile.data)
        change(message)
        return replace(profile, data=message.SerializeToString())

    def longer(message: Any) -> None:
        message.reference.codes += bytes(3)

    def picture(message: Any) -> None:
        message.reference.pictures[1] = b"<script>"

    def of_no_class(message: Any) -> None:
        message.reference.predicted[0] = 20

    for change, says in (
        (lambda message: message.reference.predicted.append(0), "reference.samples: has 48 bytes"),
        (longer, "reference.codes: hold"),
        (picture, "reference.pictures.1.: is no WebP"),
        (of_no_class, "names a class that parts does not have"),
        (lambda message: message.reference.times.__setitem__(0, 2**62), "times.0.: is"),
        (lambda message: setattr(message.model, "version", "f" * 64), "profile.model: is version ffff"),
        (lambda message: setattr(message, "format", 9), "profile.format: is 9"),
    ):
        with pytest.raises(striate.InvalidArgument, match=says):
            client.import_profile("prod", spoilt(change))
    assert client.monitor("prod").reference_images == 3
    for content in (b"", b"no profile at all", bytes(100)):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ValueError, match="file is no profile"):
            striate.read_profile(tmp_path / "file")


async def test_the_awaited_client_watches_without_blocking_its_loop(server: LocalServer) -> None:
    async with striate.aio.Client(server.target, timeout=60) as client:
        await client.create_monitor("loop", [LAYER], pictures=False)
        async with client.observe("loop") as watch:
            watch.add(pictures(1, seed=1)[0])
            await asyncio.sleep(0)
        assert watch.stored == 1
        await client.delete_monitor("loop")
