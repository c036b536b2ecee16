"""No image file costs a server more than its pixels do, and nobody else waits for it."""

from __future__ import annotations

import importlib.util
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import grpc
import numpy as np
import pytest
import striate
from hostile import large_pictures
from serving import serving
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceStub

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

MEBIBYTE = 2**20
ORDINARY = 240 * MEBIBYTE
"""More than any picture takes that is not large, and far less than each of these took."""
PATIENCE = 3.0
"""Seconds that another caller may wait, on a machine that does other things too."""
CHEAP = {"layers": "conv1", "reduce": "mean", "classes": 0}
"""A question of which nearly all the time is decoding."""

READ = (
    *("anim.gif", "anim.webp", "cmyk.jpg", "gif_screen_0x0.gif", "jpeg_trailing_junk.jpg", "mpo_o6.jpg"),
    *("exif_o6_bad_offset.jpg", "exif_o6_doubled_prefix.jpg", "exif_o6_gps_loop.jpg", "exif_o6_plain.jpg"),
    *("o6.png", "o6.webp", "o6_and_xmp.tif", "o6_deflate.tif"),
    *("png_iccp_2mb.png", "png_iccp_odd_method.png", "png_phys_bad_crc.png", "png_text_bad_crc.png"),
    *("png_ztxt_2mb.png", "thin_1x2000.png", "thin_2000x1.png", "thin_2x16000.png"),
)
REFUSED = ("jpeg_cut_by_tenth.jpg", "jpeg_height_0.jpg", "png_0x0.png")
LARGE = ("large_gray16_9900.png", "large_rgba_9900.png")


@dataclass(frozen=True)
class Running:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    target: str

    @contextmanager
    def takes_at_most(self, size: int) -> Iterator[None]:
        """Check how much memory the server's process takes meanwhile, at its peak, beyond what it has."""
        before = self._memory("VmRSS")
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")  # from now on the peak is counted anew
        yield
        taken = self._memory("VmHWM") - before
        assert taken < size, f"{taken / MEBIBYTE:.0f} MiB"

    def _memory(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.partition(f"{name}:")[2].split()[0])

    def busy_for(self, seconds: float) -> float:
        """Return how many seconds of processor time its process takes in so many seconds."""
        before = self._processor_time()
        time.sleep(seconds)
        return self._processor_time() - before

    def _processor_time(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def decoders(self) -> list[int]:
        """Return its processes that decode one picture each."""
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
        return [child for child in children if b"decoding_process" in Path(f"/proc/{child}/cmdline").read_bytes()]

    @contextmanager
    def answers_others(self) -> Iterator[None]:
        """Check that another caller is answered meanwhile."""
        done = threading.Event()
        waits = []

        def ask() -> None:
            with striate.Client(self.target) as other:
                while not done.is_set():
                    asked = time.monotonic()
                    other.models()
                    waits.append(time.monotonic() - asked)
                    done.wait(0.02)

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        assert max(waits) < PATIENCE


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    variables = {
        "OMP_NUM_THREADS": "1",
        "STRIATE_MODELS": '["parts"]',
        "STRIATE_MAX_DECODING_BYTES": str(128 * MEBIBYTE),
    }
    with serving(tmp_path_factory.mktemp("home"), **variables) as started:
        with striate.Client(started.target, timeout=60) as client:
            client.activations(
                np.zeros((50, 50, 3), np.uint8), **CHEAP
            )  # what a first request loads is no image's cost
        yield Running(started.process, started.target)


@pytest.fixture
def client(server: Running) -> Iterator[striate.Client]:
    with striate.Client(server.target, timeout=60) as connected:
        yield connected


@pytest.fixture(scope="module")
def hostile(shared: Path) -> ModuleType:
    """Functions that make files which cost a decoder much."""
    spec = importlib.util.spec_from_file_location("hostile", shared / "cases" / "hostile.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_picture_of_the_cases_is_known(shared: Path) -> None:
    assert {path.name for path in (shared / "cases" / "pictures").iterdir()} == {*READ, *REFUSED, *LARGE}


@pytest.mark.parametrize("name", READ)
def test_odd_pictures_are_read(name: str, server: Running, client: striate.Client, shared: Path) -> None:
    with server.takes_at_most(ORDINARY):
        reply = client.activations(shared / "cases" / "pictures" / name, **CHEAP)
    assert np.isfinite(reply["conv1"]).all()


@pytest.mark.parametrize("name", REFUSED)
def test_broken_pictures_are_refused(name: str, server: Running, client: striate.Client, shared: Path) -> None:
    with server.takes_at_most(ORDINARY), pytest.raises(striate.InvalidArgument, match=r"images\[0\]"):
        client.activations(shared / "cases" / "pictures" / name, **CHEAP)


@pytest.mark.parametrize("name", LARGE)
def test_the_largest_pictures_take_a_bounded_amount(
    name: str, server: Running, client: striate.Client, shared: Path
) -> None:
    with server.takes_at_most(1000 * MEBIBYTE), server.answers_others():
        client.activations(shared / "cases" / "pictures" / name, **CHEAP)


def test_large_pictures_of_one_request_wait_for_memory(
    server: Running, client: striate.Client, hostile: ModuleType
) -> None:
    """Eight of 16 megapixels: 512 MB, if each were kept until the last is decoded."""
    with server.takes_at_most(ORDINARY), server.answers_others():
        client.activations([hostile.png(4000, 4000)] * 8, **CHEAP)


def test_pictures_that_wait_are_dropped_when_their_caller_goes(
    server: Running, client: striate.Client, hostile: ModuleType
) -> None:
    """gRPC ends a call whose deadline has passed in the same way."""
    large = pb.Image(encoded=hostile.png(9000, 9000))
    request = messages.ActivationsRequest(images=[large] * 16, layers=["conv1"])
    with grpc.insecure_channel(server.target) as channel:
        call = InterpretabilityServiceStub(channel).Activations.future(request)
        time.sleep(1)  # by now the first is being decoded
        assert not call.done()
        call.cancel()
    began = time.monotonic()
    client.activations(hostile.png(4000, 4000), **CHEAP)
    assert time.monotonic() - began < 15, "only those that had begun are finished"


@pytest.mark.parametrize("ending", ["cancelled", "deadline"])
@pytest.mark.parametrize("kind", ["png", "webp"])
def test_a_large_picture_is_decoded_no_further_when_its_caller_goes(
    kind: str, ending: str, server: Running, client: striate.Client, shared: Path, hostile: ModuleType
) -> None:
    """Pillow takes a PNG in blocks; a WebP in one go, in a process that is killed."""
    path = shared / "cases" / "pictures" / "large_rgba_9900.png"
    large = path.read_bytes() if kind == "png" else large_pictures.WEBP
    request = messages.ActivationsRequest(images=[pb.Image(encoded=large)] * 4, layers=["conv1"])
    with grpc.insecure_channel(server.target) as channel:
        call = InterpretabilityServiceStub(channel).Activations.future(
            request, timeout=1.5 if ending == "deadline" else None
        )
        time.sleep(1)  # by now the first is being decoded, which takes several seconds
        assert bool(server.decoders()) == (kind == "webp")
        if ending == "cancelled":
            call.cancel()
        assert call.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)
    time.sleep(1)
    assert not server.decoders()
    assert server.busy_for(1) < 0.5
    client.activations(hostile.png(3000, 4000), **CHEAP)  # its bytes are free again


def test_a_thin_file_is_refused_with_the_limit(server: Running, client: striate.Client, hostile: ModuleType) -> None:
    with server.takes_at_most(ORDINARY), pytest.raises(striate.InvalidArgument, match="a side may have 65,535"):
        client.activations(hostile.png(1, 100_000), **CHEAP)


@pytest.mark.parametrize("shape", [(60_000, 1, 3), (1, 60_000, 3)])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_thin_arrays_cost_nothing(
    shape: tuple[int, int, int], fit: str, server: Running, client: striate.Client
) -> None:
    with server.takes_at_most(ORDINARY):
        client.activations(np.zeros(shape, np.uint8), fit=fit, **CHEAP)


def test_texts_in_a_png_cost_nothing(server: Running, client: striate.Client, hostile: ModuleType) -> None:
    with server.takes_at_most(ORDINARY), server.answers_others():
        client.activations([hostile.png_with_texts()] * 16, **CHEAP)


def test_thousands_of_scans_are_refused(server: Running, client: striate.Client, hostile: ModuleType) -> None:
    picture = hostile.jpeg_with_scans(3000, side=4000)
    with (
        server.takes_at_most(ORDINARY),
        server.answers_others(),
        pytest.raises(striate.InvalidArgument, match="scans"),
    ):
        client.activations(picture, **CHEAP)


def test_a_tile_far_larger_than_its_picture_is_refused(
    server: Running, client: striate.Client, hostile: ModuleType
) -> None:
    picture = hostile.tiff_with_one_tile(10_016)
    with server.takes_at_most(ORDINARY), pytest.raises(striate.InvalidArgument, match="tiles of 100,320,256 pixels"):
        client.activations(picture, **CHEAP)


def test_millions_of_strips_are_refused_and_nobody_waits(server: Running, client: striate.Client) -> None:
    strips = 2_000_000
    tags = [(256, 4, 1, 8), (257, 4, 1, strips), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, strips, 200), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, strips, 200)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    picture = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4 + 4 * strips)
    with (
        server.takes_at_most(ORDINARY),
        server.answers_others(),
        pytest.raises(striate.InvalidArgument, match="at most 100,000"),
    ):
        client.activations([picture] * 2, **CHEAP)
