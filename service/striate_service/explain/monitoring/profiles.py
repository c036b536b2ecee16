"""Profiles: what a monitor keeps, to be stored as a file or merged with what others have kept."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from striate_service.errors import InvalidArgument, storing
from striate_service.explain.bases import Library
from striate_service.explain.monitoring.monitors import Monitors
from striate_service.explain.monitoring.watched import Watched, watched
from striate_service.scheduling.engine import Engine
from striate_service.stores.monitors import MonitorStore, StoredMonitor
from striate_service.stores.observations import KeptImage


@dataclass(frozen=True)
class Profile:
    model: str
    model_version: str
    layers: Sequence[str]
    """Paths."""
    bases: Sequence[str]
    basis_digests: Sequence[bytes]
    """SHA-256 of each basis's directions."""
    fit: int
    reference: Sequence[KeptImage]
    traffic: Sequence[KeptImage]


class Profiles:
    def __init__(self, engine: Engine, monitors: Monitors, library: Library, store: MonitorStore) -> None:
        self._engine = engine
        self._monitors = monitors
        self._library = library
        self._store = store

    async def export(self, name: str, *, pictures: bool) -> Profile:
        """Return what a monitor keeps.

        Raises:
            NotFound: there is no such monitor.
            FailedPrecondition: its model is not served, or a basis is gone.
        """
        monitor = await self._monitors.find(name)
        seen = await watched(monitor, self._engine.models, self._library)
        reference, traffic = await asyncio.to_thread(self._store.profile, name, pictures=pictures)
        return Profile(
            monitor.model,
            monitor.model_version,
            monitor.layers,
            monitor.bases,
            _digests(seen),
            monitor.fit,
            reference,
            traffic,
        )

    async def merge(self, name: str, profile: Profile, *, reference_only: bool) -> tuple[StoredMonitor, int]:
        """Take in a profile; return the monitor, and how many of the images it did not know.

        Raises:
            NotFound: there is no such monitor.
            FailedPrecondition: its model is not served, or a basis is gone.
            InvalidArgument: the profile is of something else, or spoilt.
        """
        monitor = await self._monitors.find(name)
        seen = await watched(monitor, self._engine.models, self._library)
        _check(profile, monitor, seen)
        reference, traffic = profile.reference, profile.traffic
        if reference_only:
            reference, traffic = reference or traffic, ()
        try:
            with storing(f"what the monitor {name!r} sees"):
                added = await asyncio.to_thread(self._store.merge, name, reference, traffic)
        except LookupError:
            added = 0  # it was deleted meanwhile, which is said below
        return await self._monitors.find(name), added


def _check(profile: Profile, monitor: StoredMonitor, seen: Watched) -> None:
    """Refuse a profile of another model, of other layers or bases, or whose values cannot be."""
    if profile.model_version != monitor.model_version:
        raise InvalidArgument(
            "profile.model",
            f"is version {profile.model_version[:12]} of {profile.model!r}, and the monitor watches version "
            f"{monitor.model_version[:12]} of {monitor.model}.",
        )
    for field, given, own in (
        ("layers", tuple(profile.layers), monitor.layers),
        ("bases", tuple(profile.bases), monitor.bases),
    ):
        if given != own:
            raise InvalidArgument(
                f"profile.{field}", f"are not the monitor's, which are {', '.join(own) or 'none'}, in this order."
            )
    if tuple(profile.basis_digests) != _digests(seen):
        raise InvalidArgument("profile.bases", "have the monitor's names, and other directions.")
    if profile.fit != monitor.fit:
        raise InvalidArgument("profile.fit", "is not the monitor's: its images were cut otherwise.")
    classes = len(seen.model.classes)
    for field, images in (("reference", profile.reference), ("traffic", profile.traffic)):
        for image in images:
            if len(image.codes) != seen.numbers:
                raise InvalidArgument(
                    f"profile.{field}.codes",
                    f"hold {len(image.codes)} bytes an image; this monitor keeps {seen.numbers}.",
                )
            if not (0 if classes else -1) <= image.predicted < max(classes, 0) or not -1 < (image.outcome or 0) < max(
                classes, 1
            ):
                raise InvalidArgument(f"profile.{field}", f"names a class that {seen.model.name} does not have.")


def _digests(seen: Watched) -> tuple[bytes, ...]:
    return tuple(hashlib.sha256(basis.directions.tobytes()).digest() for basis in seen.bases)
