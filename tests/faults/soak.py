"""Mixed traffic on a server, and what the kernel says of its processes meanwhile."""

from __future__ import annotations

import io
import itertools
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median

import grpc
from hostile.sending import send
from hostile.spoilt_requests import case
from PIL import Image
from processes import workers
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceStub
from striate_service.models.embedded.pictures import draw

_DEADLINE = 5.0  # seconds of a call; where too much is asked, it is refused, and nobody waits for ever
_CALLERS = 8  # who call one after the other, to find what a server bears
_MOST_CALLS = 64  # under way, of calls at a rate
_LAYER = "mixed5b"
_PICTURES = 5  # few, so that their icons are rendered early and stores do not grow
_FINE = {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "CANCELLED"}
_OF_MISTAKES = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "PERMISSION_DENIED"}


@dataclass(frozen=True)
class Outcome:
    kind: str
    code: str
    ended: float
    """On time.monotonic()."""


class Traffic:
    """Calls of all kinds, drawn by chance: activations, dictionaries, groups, streams, icons, calls that are given up,
    callers who come for one call, and requests that nobody should send."""

    def __init__(self, target: str, seed: int = 0) -> None:
        self._target = target
        self._channel = grpc.insecure_channel(target)
        self._stub = InterpretabilityServiceStub(self._channel)
        self._chance = random.Random(seed)
        self._numbers = itertools.count()
        self._images = [pb.Image(encoded=_picture(number)) for number in range(_PICTURES)]
        self._kinds: dict[str, tuple[int, Callable[[int], str]]] = {
            "activations": (40, self._activations),
            "dictionary": (15, self._dictionary),
            "factorize": (10, self._factorize),
            "stream": (5, self._stream),
            "icons": (5, self._icons),
            "cancelled": (10, self._cancelled),
            "newcomer": (5, self._newcomer),
            "hostile": (10, self._hostile),
        }

    def close(self) -> None:
        self._channel.close()

    def at_most(self, seconds: float) -> list[Outcome]:
        """Call as fast as answers come."""
        end, outcomes = time.monotonic() + seconds, list[Outcome]()

        def caller() -> None:
            while time.monotonic() < end:
                outcomes.append(self._once())

        with ThreadPoolExecutor(_CALLERS) as threads:
            for done in [threads.submit(caller) for _ in range(_CALLERS)]:
                done.result()
        return outcomes

    def at_rate(self, rate: float, seconds: float) -> list[Outcome]:
        """Begin so many calls a second, whatever becomes of those before."""
        started = time.monotonic()
        with ThreadPoolExecutor(_MOST_CALLS) as threads:
            calls = []
            for number in range(int(rate * seconds)):
                time.sleep(max(0.0, started + number / rate - time.monotonic()))
                calls.append(threads.submit(self._once))
            return [call.result() for call in calls]

    def _once(self) -> Outcome:
        number = next(self._numbers)
        names, weights = zip(*((name, weight) for name, (weight, _) in self._kinds.items()), strict=True)
        (kind,) = self._chance.choices(names, weights)
        try:
            code = self._kinds[kind][1](number)
        except grpc.RpcError as error:
            code = error.code().name
        return Outcome(kind, code, time.monotonic())

    def _image(self, number: int) -> pb.Image:
        return self._images[number % _PICTURES]

    def _activations(self, number: int) -> str:
        self._stub.Activations(self._asked(number), timeout=_DEADLINE)
        return "OK"

    def _asked(self, number: int) -> messages.ActivationsRequest:
        return messages.ActivationsRequest(
            images=[self._image(number)], layers=[_LAYER], reduction=messages.REDUCTION_MEAN
        )

    def _dictionary(self, number: int) -> str:
        request = messages.SemanticDictionaryRequest(image=self._image(number), layer=_LAYER, classes=1)
        self._stub.SemanticDictionary(request, timeout=_DEADLINE)
        return "OK"

    def _grouped(self, number: int, *, wait: bool) -> messages.FactorizeRequest:
        batch = messages.ImageBatch(images=[self._image(number)], layer=_LAYER)
        return messages.FactorizeRequest(images=batch, components=3, classes=1, wait_for_icons=wait)

    def _factorize(self, number: int) -> str:
        self._stub.Factorize(self._grouped(number, wait=False), timeout=_DEADLINE)
        return "OK"

    def _stream(self, number: int) -> str:
        requests = (
            messages.StreamActivationsRequest(id=str(each), request=self._asked(number + each)) for each in range(4)
        )
        for _ in self._stub.StreamActivations(requests, timeout=_DEADLINE):
            pass
        return "OK"

    def _icons(self, number: int) -> str:
        """Watch icons until the first report, and leave."""
        reply = self._stub.Factorize(self._grouped(number, wait=False), timeout=_DEADLINE)
        keys = [group.icon.key for group in reply.groups if group.icon.HasField("key")]
        stream = self._stub.WatchIcons(messages.WatchIconsRequest(keys=keys), timeout=_DEADLINE)
        for _ in stream:
            break
        stream.cancel()
        return "OK"

    def _cancelled(self, number: int) -> str:
        call = self._stub.Factorize.future(self._grouped(number, wait=True), timeout=_DEADLINE)
        time.sleep(0.02 * (number % 5))
        call.cancel()
        return "CANCELLED"

    def _newcomer(self, number: int) -> str:
        with grpc.insecure_channel(self._target) as channel:
            InterpretabilityServiceStub(channel).Activations(self._asked(number), timeout=_DEADLINE)
        return "OK"

    def _hostile(self, number: int) -> str:
        _, codes, _ = send(self._channel, case(f"soak-{number}"), _DEADLINE)
        return next((code.name for code in codes if code is not grpc.StatusCode.OK), "OK")


def per_second(outcomes: Sequence[Outcome], first: float, last: float) -> float:
    """Return how many sound calls were answered in each second of a time."""
    answered = sum(each.code == "OK" and first <= each.ended < last for each in outcomes)
    return answered / (last - first)


def wrong(outcomes: Sequence[Outcome]) -> Counter[tuple[str, str]]:
    """Return what should not have come of calls: refusals are fine, and mistakes of hostile ones."""
    return Counter(
        (each.kind, each.code)
        for each in outcomes
        if each.code not in (_FINE | _OF_MISTAKES if each.kind == "hostile" else _FINE)
    )


@dataclass(frozen=True)
class Sample:
    """Of a server's process and its workers, together."""

    server_bytes: int
    worker_bytes: int
    shared_bytes: int
    """Blocks only grow, to what the largest batches need."""
    shared_blocks: int
    descriptors: int
    threads: int

    def __str__(self) -> str:
        sizes = f"{self.server_bytes >> 20} MiB, workers {self.worker_bytes >> 20} MiB"
        shared = f"{self.shared_blocks} shared blocks of {self.shared_bytes >> 10} KiB"
        return f"{sizes}, {shared}, {self.descriptors} descriptors, {self.threads} threads"


def sample(server: int) -> Sample:
    """Return what the kernel says now."""
    own, others = _status(server), [_status(each) for each in workers(server)]
    blocks = _shared_blocks(server)
    return Sample(
        server_bytes=own["RssAnon"],
        worker_bytes=sum(each["RssAnon"] for each in others),
        shared_bytes=sum(blocks.values()),
        shared_blocks=len(blocks),
        descriptors=sum(len(os.listdir(f"/proc/{each}/fd")) for each in (server, *workers(server))),
        threads=own["Threads"] + sum(each["Threads"] for each in others),
    )


@contextmanager
def sampling(server: int, interval: float) -> Iterator[list[Sample]]:
    """Give samples that are taken meanwhile."""
    samples: list[Sample] = []
    ended = threading.Event()

    def take() -> None:
        while not ended.wait(interval):
            samples.append(sample(server))

    taker = threading.Thread(target=take)
    taker.start()
    try:
        yield samples
    finally:
        ended.set()
        taker.join()


def growth(samples: Sequence[Sample]) -> dict[str, float]:
    """Return by how much of itself each median of the last third differs from that of the first."""
    third = len(samples) // 3
    found = {}
    for each in fields(Sample):
        first = median(getattr(one, each.name) for one in samples[:third])
        last = median(getattr(one, each.name) for one in samples[-third:])
        found[each.name] = (last - first) / max(first, 1)
    return found


def _status(process: int) -> dict[str, int]:
    """Return /proc/PROCESS/status's numbers; sizes in bytes."""
    found = {}
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        first, *unit = value.split() or [""]
        if first.isdecimal():
            found[name] = int(first) * (1024 if unit == ["kB"] else 1)
    return found


def _shared_blocks(server: int) -> dict[int, int]:
    """Return the bytes of each block of shared memory that a server holds, and has given to a worker."""
    found = {}
    for entry in Path(f"/proc/{server}/fd").iterdir():
        try:
            if os.readlink(entry).startswith("/memfd:striate"):
                file = entry.stat()
                found[file.st_ino] = file.st_blocks * 512
        except OSError:  # closed meanwhile
            continue
    return found


def _picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw(number, "cat").image).save(buffer, "PNG")
    return buffer.getvalue()
