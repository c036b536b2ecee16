"""Icons have owners: what nobody waits for any more is not rendered, and who waits goes first."""

from __future__ import annotations

import io
import os
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import torch
from conftest import settings
from fragile import SIDE, factory
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from PIL import Image
from striate.tensors import tensor_from_array
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceStub
from striate_service.config import ModelSettings, PreprocessingSettings
from striate_service.local import LocalServer

CALLS, GROUPS = 200, 3  # half of which wait for icons
MOST = 700  # icons that one caller may wait for
CHANNELS = 4
FACETS = 8
LEFT = CHANNELS * FACETS  # icons that one caller may leave
_HUNG = 240.0  # seconds: a first factorization compiles, which takes a minute on a busy machine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelSettings:
    weights = tmp_path_factory.mktemp("weights") / "fragile.pth"
    torch.save(factory().state_dict(), weights)
    return ModelSettings(
        name="fragile",
        architecture="fragile:factory",
        weights=str(weights),
        preprocessing=PreprocessingSettings(resize=SIDE, crop=SIDE),
    )


def serving(model: ModelSettings, home: Path, **changes: object) -> LocalServer:
    """Return a server whose slices are a few steps each, and whose icons are rendered one by one."""
    own = {"devices": ("cpu",), "render_slice": 0.05, "render_batch_size": 1, "max_icons_per_caller": MOST}
    own["max_detached_icons_per_caller"] = LEFT
    return LocalServer(settings(home, models=[model], **(own | changes)))


@pytest.fixture(scope="module")
def server(model: ModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        with serving(model, tmp_path_factory.mktemp("home")) as running:
            yield running


@pytest.fixture
def stub(server: LocalServer) -> Iterator[InterpretabilityServiceStub]:
    with grpc.insecure_channel(server.target) as channel:
        yield InterpretabilityServiceStub(channel)
    assert in_time(lambda: metric(server, "striate_icons_pending") == 0), "nothing is left behind"


def metric(server: LocalServer, name: str) -> float:
    text = urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics").read().decode()
    return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)))


def in_time(condition: object) -> bool:
    assert callable(condition)
    end = time.monotonic() + _HUNG
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def picture(icon: pb.Icon) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(icon.data)).convert("RGB"), float)


def factorize(seed: int, *, wait: bool) -> messages.FactorizeRequest:
    """Return a request whose groups nobody has seen."""
    image = np.random.default_rng(seed).random((3, SIDE, SIDE), np.float32)
    batch = messages.ImageBatch(images=[pb.Image(preprocessed=tensor_from_array(image))], layer="layer")
    return messages.FactorizeRequest(images=batch, components=GROUPS, classes=0, wait_for_icons=wait)


def keys(stub: InterpretabilityServiceStub, seed: int, count: int) -> list[pb.IconKey]:
    """Return the keys of directions that nobody has seen."""
    (first, *_) = stub.Factorize(factorize(seed, wait=False)).groups
    directions = np.random.default_rng(seed).random((count, CHANNELS), np.float32)
    found = []
    for direction in directions:
        key = pb.IconKey()
        key.CopyFrom(first.icon.key)
        key.direction.CopyFrom(tensor_from_array(direction))
        found.append(key)
    return found


def watch(stub: InterpretabilityServiceStub, keys: list[pb.IconKey], **options: float) -> Iterator[object]:
    found: Iterator[object] = stub.WatchIcons(messages.WatchIconsRequest(keys=keys), **options)
    return found


@pytest.mark.promise(
    "200 callers ask for icons and go away",
    "what they alone waited for is not rendered",
    seen="1,200 renderings that nobody waited for, before those of who waited",
)
def test_callers_who_leave_leave_no_icons_behind(server: LocalServer, stub: InterpretabilityServiceStub) -> None:
    rendered = metric(server, "striate_icons_rendered_total")
    stub.Factorize(factorize(CALLS, wait=False))  # the first one, which compiles or loads what was compiled, alone
    answered = [stub.Factorize.future(factorize(seed, wait=False)) for seed in range(CALLS // 2)]
    groups = [group for call in answered for group in call.result().groups]
    assert {group.icon.status for group in groups} == {pb.ICON_STATUS_QUEUED}
    assert metric(server, "striate_icons_pending") == 0, "who does not wait asks for none"
    waiting = [stub.Factorize.future(factorize(seed, wait=True)) for seed in range(CALLS // 2)]
    assert in_time(lambda: metric(server, "striate_icons_pending") > CALLS / 2)
    for call in waiting:
        call.cancel()
    assert in_time(lambda: metric(server, "striate_icons_pending") == 0)
    assert metric(server, "striate_icons_dropped_total") > CALLS / 2
    assert metric(server, "striate_icons_rendered_total") - rendered < CALLS / 2


def test_who_waits_goes_before_who_has_left(server: LocalServer, stub: InterpretabilityServiceStub) -> None:
    left = stub.RenderIcons(messages.RenderIconsRequest(layer="layer", channels=[0, 1, 3], detach=True))
    next(left)
    left.cancel()
    left_over = metric(server, "striate_icons_detached")
    assert left_over >= 2
    (*_, last) = watch(stub, keys(stub, 1000, 1))
    assert (last.completed, last.total, last.progress) == (1, 1, 1)
    assert metric(server, "striate_icons_detached") >= left_over - 1, "one may have been in its last step"
    assert in_time(lambda: metric(server, "striate_icons_detached") == 0), "they were wanted all the same"


@pytest.mark.promise(
    "callers leave icons to be rendered (`RenderIcons` with `detach`)",
    "so many of each caller, RESOURCE_EXHAUSTED beyond; who has left them takes them back, and nobody else's",
    seen="12,284 were queued in seconds, and none could be taken back",
)
def test_who_has_left_icons_takes_them_back(server: LocalServer, stub: InterpretabilityServiceStub) -> None:
    def leave(caller: str, layer: str) -> None:
        request = messages.RenderIconsRequest(layer=layer, facets=FACETS, detach=True, omit_icons=True)
        left = stub.RenderIcons(request, metadata=[("striate-caller", caller)])
        next(left)
        left.cancel()

    def cancel(caller: str, **chosen: str) -> int:
        metadata = [("striate-caller", caller)]
        return int(stub.CancelIcons(messages.CancelIconsRequest(**chosen), metadata=metadata).cancelled)

    leave("ann", "layer")
    for _ in range(2):  # what is left already does not count again
        leave("ann", "layer")
    with pytest.raises(grpc.RpcError) as refused:
        leave("ann", "layer.0")
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert re.search(rf"ann has left \d+ icons to be rendered.* at most {LEFT} ", refused.value.details())
    leave("bob", "layer")
    assert metric(server, "striate_icons_detached") <= LEFT, "the same ones"
    leave("bob", "layer")
    assert [cancel("eve"), cancel("ann", layer="layer.0"), cancel("ann", model="fragile", layer="layer.1")] == [0] * 3
    with pytest.raises(grpc.RpcError) as refused:
        cancel("ann", layer="layers")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert cancel("ann", layer="layer") > FACETS, "all but what was finished meanwhile"
    assert cancel("ann") == 0
    assert metric(server, "striate_icons_detached") > FACETS, "bob's too"
    rendered = metric(server, "striate_icons_rendered_total")
    assert cancel("bob") > FACETS
    assert metric(server, "striate_icons_detached") == 0
    assert in_time(lambda: metric(server, "striate_icons_pending") == 0)
    assert metric(server, "striate_icons_rendered_total") <= rendered + FACETS, "what was in its last slice"


def test_a_stream_that_ends_early_drops_its_icons(server: LocalServer, stub: InterpretabilityServiceStub) -> None:
    for leave, code in (
        ({}, grpc.StatusCode.CANCELLED),
        ({"timeout": 1.0}, grpc.StatusCode.DEADLINE_EXCEEDED),
    ):
        stream = watch(stub, keys(stub, 2000, 20), **leave)
        assert next(stream).total == 20
        assert metric(server, "striate_icons_pending") > 10
        if not leave:
            stream.cancel()
        with pytest.raises(grpc.RpcError) as ended:
            list(stream)
        assert ended.value.code() is code
        assert in_time(lambda: metric(server, "striate_icons_pending") == 0)


def test_what_was_begun_goes_on_where_it_was(server: LocalServer, stub: InterpretabilityServiceStub) -> None:
    (key,) = keys(stub, 3000, 1)
    first = watch(stub, [key])
    progress = next(each.progress for each in first if each.progress > 0.3)
    first.cancel()
    assert in_time(lambda: metric(server, "striate_icons_pending") == 0)
    again = next(each.progress for each in watch(stub, [key]) if each.progress > 0)
    assert again >= progress


def test_quick_pictures_come_before_the_finished_ones_and_only_to_who_asks(stub: InterpretabilityServiceStub) -> None:
    asked = keys(stub, 3500, 8)
    quick, finished, late = {}, {}, []
    for update in stub.WatchIcons(messages.WatchIconsRequest(keys=asked, previews=True)):
        quick |= {each.index: each.icon for each in update.previews}
        finished |= {each.index: each.icon for each in update.icons}
        late += [each.index for each in update.previews if each.index in finished]
    assert finished.keys() == set(range(8))
    assert len(quick) >= 4, "all have one when the first is finished; who is slow to read misses some"
    assert late == []
    for place, icon in quick.items():
        assert icon.status == pb.ICON_STATUS_QUEUED
        assert picture(icon).shape == picture(finished[place]).shape
        likeness = np.corrcoef(picture(icon).ravel(), picture(finished[place]).ravel())[0, 1]
        assert 0.3 < likeness < 0.999, "the same optimization, unfinished"
    others = list(watch(stub, keys(stub, 3501, 2)))
    assert not any(update.previews for update in others)
    assert {each.index for update in others for each in update.icons} == {0, 1}


def test_icons_that_are_waited_for_are_bounded(stub: InterpretabilityServiceStub) -> None:
    own = keys(stub, 4000, MOST)
    streams = [watch(stub, own[:512]), watch(stub, own[512:])]
    for stream in streams:
        next(stream)
    with pytest.raises(grpc.RpcError) as refused:
        list(watch(stub, keys(stub, 4001, 1)))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"waits for {MOST} icons, and one caller may for at most {MOST}" in refused.value.details()
    status = rpc_status.from_call(refused.value)
    retry = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(retry)
    assert retry.retry_delay.seconds > 0
    reply = stub.Factorize(factorize(4002, wait=True), timeout=60)
    assert {group.icon.status for group in reply.groups} == {pb.ICON_STATUS_QUEUED}, "an answer without pictures"
    for stream in streams:
        stream.cancel()


def test_keys_are_good_for_every_server_of_the_weights_which_may_render_ahead(
    stub: InterpretabilityServiceStub, model: ModelSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = stub.Factorize(factorize(5000, wait=False)).groups
    channel = pb.IconKey(model_version=groups[0].icon.key.model_version, layer="layer", channel=2)
    channel.recipe = groups[0].icon.key.recipe
    asked = [groups[1].icon.key, channel]
    here = {each.index: each.icon for update in watch(stub, asked) for each in update.icons}
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    ahead = model.model_copy(update={"prerender": ("layer",)})
    with serving(ahead, tmp_path, render_batch_size=4) as other, grpc.insecure_channel(other.target) as connected:
        updates = list(watch(InterpretabilityServiceStub(connected), asked))
        rendered = "striate_icons_rendered_total"
        assert in_time(lambda: metric(other, rendered) == 1 + CHANNELS), "the layer was to be rendered ahead"
    there = {each.index: each.icon for update in updates for each in update.icons}
    assert here.keys() == there.keys() == {0, 1}
    assert all(icon.status == pb.ICON_STATUS_READY and not icon.HasField("key") for icon in there.values())
    for place, icon in here.items():  # not to the bit: some were rendered in a batch
        difference = picture(icon) - picture(there[place])
        assert np.abs(difference).mean() < 3
    assert updates[-1].completed == 2
    again = stub.Factorize(factorize(5000, wait=False)).groups
    assert again[1].icon == here[0], "it is in the store now"


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"model_version": "ab" * 32}, grpc.StatusCode.NOT_FOUND, "no model of version 'abababababab'; keys[1] is"),
        ({"model_version": "x" * 2**20}, grpc.StatusCode.INVALID_ARGUMENT, "keys[1].model_version: has 1048576"),
        ({"layer": "nowhere"}, grpc.StatusCode.NOT_FOUND, "no layer 'nowhere'"),
        ({"layer": "fc"}, grpc.StatusCode.INVALID_ARGUMENT, "keys[1].direction: should be float32 or float16 [3]"),
        ({"channel": 4}, grpc.StatusCode.INVALID_ARGUMENT, "keys[1].channel: is 4; it should be 0 to 3"),
        ({"recipe": "oils"}, grpc.StatusCode.INVALID_ARGUMENT, "keys[1].recipe: is none of this server's recipes"),
        ({"direction": np.ones(5, np.float32)}, grpc.StatusCode.INVALID_ARGUMENT, "keys[1].direction: should be"),
        ({"direction": np.full(4, np.nan, np.float32)}, grpc.StatusCode.INVALID_ARGUMENT, "should be finite"),
        ({"direction": np.zeros(4, np.int32)}, grpc.StatusCode.INVALID_ARGUMENT, "float32 or float16 [4]"),
    ],
)
def test_a_key_asks_for_nothing_that_there_is_not(
    stub: InterpretabilityServiceStub, change: dict[str, object], code: grpc.StatusCode, said: str
) -> None:
    sound = keys(stub, 6000, 2)
    for name, value in change.items():
        if name == "direction":
            sound[1].direction.CopyFrom(tensor_from_array(value))
        else:
            setattr(sound[1], name, value)
    with pytest.raises(grpc.RpcError) as refused:
        list(watch(stub, sound))
    assert refused.value.code() is code
    assert said in refused.value.details()


def test_keys_are_bounded(stub: InterpretabilityServiceStub) -> None:
    (key,) = keys(stub, 7000, 1)
    nothing = pb.IconKey(model_version=key.model_version, layer=key.layer, recipe=key.recipe)
    long = pb.IconKey(direction=pb.Tensor(data=bytes(2**20)))
    for given, said in (
        ([long] * 9, "keys: hold 9.0 MiB of directions; send at most 8 MiB"),
        ([nothing] * 4097, "keys: are 4097; send at most 4096"),
        ([nothing], "keys[0]: shows nothing"),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            list(watch(stub, given))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert said in refused.value.details()
    assert list(watch(stub, [])) == []
