"""The label database, for answers that do without names while it is locked, broken or gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError

from striate_service.monitoring.metrics import Metrics
from striate_service.stores.labels import LabelStore, StoredLabel

logger = logging.getLogger(__name__)

_PATIENCE = 2.0  # seconds that an answer waits for its names
_PAUSE = 5.0  # seconds until the database is asked again, so that few answers wait, and few threads
_LOG_SECONDS = 60.0  # between two lines of the log

Found = TypeVar("Found")


class OptionalLabels:
    """As `LabelStore`, but None where the database does not answer."""

    def __init__(self, labels: LabelStore, metrics: Metrics) -> None:
        self._labels = labels
        self._metrics = metrics
        self._pause_until = 0.0
        """On time.monotonic(), in seconds."""
        self._quiet_until = 0.0

    async def of_channels(self, version: str, layer: str, channels: Sequence[int]) -> dict[int, StoredLabel] | None:
        return await self._read(lambda: self._labels.of_channels(version, layer, channels))

    async def of_directions(
        self, version: str, layer: str, directions: NDArray[np.float32]
    ) -> Sequence[StoredLabel | None] | None:
        return await self._read(lambda: self._labels.of_directions(version, layer, directions))

    async def _read(self, read: Callable[[], Found]) -> Found | None:
        if time.monotonic() >= self._pause_until:
            try:
                return await asyncio.wait_for(asyncio.to_thread(read), _PATIENCE)
            except (SQLAlchemyError, asyncio.TimeoutError) as error:
                self._pause_until = time.monotonic() + _PAUSE
                self._log(error)
        self._metrics.names_unavailable.inc()
        return None

    def _log(self, error: Exception) -> None:
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + _LOG_SECONDS
            reason = getattr(error, "orig", None) or str(error) or f"it did not answer within {_PATIENCE:.0f} s"
            logger.error("answers have no names, since the label database cannot be read: %s", reason)
