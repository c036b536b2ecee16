"""Profiles of monitors in files: a file is the message, whose first field is its format."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import DecodeError

from striate.results.models import Model
from striate.results.monitoring import Profile
from striate.v1 import monitoring_pb2 as messages

_FORMAT = 1
_LARGEST = 2**30  # bytes of a file: no message holds more


def profile_from(message: messages.Profile) -> Profile:
    return Profile(
        model=Model(message.model.name, message.model.version),
        layers=tuple(message.layers),
        bases=tuple(message.bases),
        reference_images=len(message.reference.predicted),
        window_images=len(message.traffic.predicted),
        data=message.SerializeToString(),
    )


def profile_message(profile: Profile) -> messages.Profile:
    return messages.Profile.FromString(profile.data)


def write_profile(path: str | Path, profile: Profile) -> None:
    """Write a profile to a file. It holds small pictures of images, unless it was exported without."""
    Path(path).write_bytes(profile.data)


def read_profile(path: str | Path) -> Profile:
    """Read a profile from a file that `write_profile` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no profile, or one of a later version.
    """
    path = Path(path)
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path.name} is no profile: it is too large for one")
    message = messages.Profile()
    try:
        message.ParseFromString(path.read_bytes())
    except DecodeError:
        raise ValueError(f"{path.name} is no profile of a monitor") from None
    if message.format > _FORMAT:
        raise ValueError(f"{path.name} was written by a later version of striate; update this one")
    if message.format != _FORMAT:
        raise ValueError(f"{path.name} is no profile of a monitor")
    return profile_from(message)
