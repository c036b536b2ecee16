"""Profiles of monitors: messages, which may come from any file, to values, and back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from striate.v1 import common_pb2 as pb
from striate.v1 import monitoring_pb2 as messages

from striate_service.errors import InvalidArgument
from striate_service.explain.monitoring import Profile
from striate_service.servicers import reading
from striate_service.stores.observations import REFERENCE_IMAGES, KeptImage

FORMAT = 1
_SAMPLE = 16  # bytes
_LONGEST_SLICE = 64
_LARGEST_PICTURE = 2**16  # bytes: one of 112 pixels has 3,000
_EPOCH = datetime(1970, 1, 1)
_EARLIEST, _LATEST = datetime(1900, 1, 1), datetime(2200, 1, 1)


def read_profile(message: messages.Profile, most_traffic: int) -> Profile:
    """Return a profile, each of whose values is one that a server may have written.

    Args:
        most_traffic: images of traffic.
    """
    if message.format != FORMAT:
        raise InvalidArgument(
            "profile.format", f"is {message.format}; this server reads format {FORMAT}: is it a profile?"
        )
    return Profile(
        reading.text(message.model.name, "profile.model.name"),
        reading.text(message.model.version, "profile.model.version"),
        tuple(message.layers),
        tuple(message.bases),
        tuple(message.basis_digests),
        reading.read_fit(message.fit, "profile.fit").value,
        _read_images(message.reference, "profile.reference", REFERENCE_IMAGES),
        _read_images(message.traffic, "profile.traffic", most_traffic),
    )


def write_profile(profile: Profile) -> messages.Profile:
    return messages.Profile(
        format=FORMAT,
        model=pb.ModelRef(name=profile.model, version=profile.model_version),
        layers=profile.layers,
        bases=profile.bases,
        basis_digests=profile.basis_digests,
        fit=profile.fit,  # type: ignore[arg-type]  # a plain number, where the stubs want the enum's type
        reference=_write_images(profile.reference),
        traffic=_write_images(profile.traffic),
    )


def _read_images(message: messages.ProfileImages, field: str, most: int) -> list[KeptImage]:
    count = len(message.predicted)
    reading.in_range(count, f"{field}.predicted", 0, most)
    if len(message.samples) != _SAMPLE * count:
        problem = f"has {len(message.samples)} bytes; {count} images take {_SAMPLE} each."
        raise InvalidArgument(f"{field}.samples", problem)
    numbers, rest = divmod(len(message.codes), max(count, 1))
    if rest:
        raise InvalidArgument(f"{field}.codes", f"has {len(message.codes)} bytes, which {count} images do not share.")
    for name in ("outcomes", "slices", "times", "novelty", "pictures"):
        given = len(getattr(message, name))
        if given != count and (given or name not in ("novelty", "pictures")):
            raise InvalidArgument(f"{field}.{name}", f"are {given}, of {count} images.")
    found = []
    for index in range(count):
        picture = message.pictures[index] if message.pictures else b""
        if picture and (len(picture) > _LARGEST_PICTURE or picture[:4] + picture[8:12] != b"RIFFWEBP"):
            raise InvalidArgument(f"{field}.pictures[{index}]", "is no WebP file of at most 64 KiB.")
        found.append(
            KeptImage(
                sample=message.samples[_SAMPLE * index : _SAMPLE * (index + 1)],
                codes=message.codes[numbers * index : numbers * (index + 1)],
                predicted=message.predicted[index],
                outcome=message.outcomes[index] if message.outcomes[index] >= 0 else None,
                novelty=_share(message.novelty[index], f"{field}.novelty[{index}]") if message.novelty else None,
                slice=reading.text(message.slices[index], f"{field}.slices[{index}]", most=_LONGEST_SLICE),
                taken=_time(message.times[index], f"{field}.times[{index}]"),
                picture=picture,
            )
        )
    return found


def _share(value: float, field: str) -> float:
    if not 0 <= value <= 1.001:  # a rounding beyond the whole
        raise InvalidArgument(field, f"is {value}; it should be 0 to 1.")
    return value


def _time(microseconds: int, field: str) -> datetime:
    least, most = ((each - _EPOCH) // timedelta(microseconds=1) for each in (_EARLIEST, _LATEST))
    reading.in_range(microseconds, field, least, most, "the years 1900 to 2200")
    return _EPOCH + timedelta(microseconds=microseconds)


def _write_images(images: Sequence[KeptImage]) -> messages.ProfileImages:
    return messages.ProfileImages(
        samples=b"".join(bytes(image.sample) for image in images),
        codes=b"".join(image.codes for image in images),
        predicted=[image.predicted for image in images],
        outcomes=[-1 if image.outcome is None else image.outcome for image in images],
        slices=[image.slice for image in images],
        times=[(image.taken - _EPOCH) // timedelta(microseconds=1) for image in images],
        novelty=[image.novelty for image in images if image.novelty is not None],
        pictures=[image.picture for image in images] if any(image.picture for image in images) else (),
    )
