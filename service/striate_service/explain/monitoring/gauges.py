"""Drift as gauges: every few seconds, what monitors that have seen something new have to say."""

from __future__ import annotations

import asyncio
import logging

from striate_service.errors import RequestError
from striate_service.explain.monitoring.drift import DriftAnswer, DriftQuestion, DriftReports
from striate_service.explain.monitoring.monitors import Monitors
from striate_service.monitoring.metrics import Metrics
from striate_service.stores.monitors import StoredMonitor

logger = logging.getLogger(__name__)

_INTERVAL = 15.0  # seconds: as often as Prometheus usually asks
_ITEMS = 200  # groups that have a gauge


class DriftGauges:
    def __init__(self, monitors: Monitors, reports: DriftReports, metrics: Metrics) -> None:
        self._monitors = monitors
        self._reports = reports
        self._metrics = metrics
        self._seen: dict[str, tuple[int, int]] = {}
        """By monitor: the images of its reference and of traffic, when it was last looked at."""

    async def keep(self) -> None:
        """Keep the gauges up to date, until cancelled."""
        while True:
            try:
                await self.update()
            except Exception:  # a database that is gone for a while must not end it
                logger.exception("drift could not be told to monitoring")
            await asyncio.sleep(_INTERVAL)

    async def update(self) -> None:
        """Look at monitors that have seen something new since the last time, and forget those that are gone."""
        monitors = await self._monitors.list()
        for gone in self._seen.keys() - {monitor.name for monitor in monitors}:
            self._forget(gone)
        for monitor in monitors:
            counts = (monitor.reference_images, monitor.observed_images)
            self._metrics.observed_images.labels(monitor=monitor.name).set(monitor.observed_images)
            if self._seen.get(monitor.name) == counts:
                continue
            self._seen[monitor.name] = counts
            if all(counts):
                await self._tell(monitor)

    async def _tell(self, monitor: StoredMonitor) -> None:
        question = DriftQuestion(monitor.name, items=_ITEMS, pictures=0, omit_icons=True)
        try:
            answer = await self._reports.compare(question)
        except RequestError as error:  # its model is not served here, or it is gone
            logger.debug("%s", error)
            return
        self._set(monitor.name, answer)

    def _set(self, name: str, answer: DriftAnswer) -> None:
        metrics = self._metrics
        metrics.window_images.labels(monitor=name).set(answer.images)
        for layer in answer.layers:
            metrics.drift_score.labels(monitor=name, layer=layer.layer).set(layer.score)
            metrics.drift_significant.labels(monitor=name, layer=layer.layer).set(layer.significant_channels)
        for group in answer.groups:
            metrics.drift_groups.labels(monitor=name, basis=group.basis, group=group.group).set(group.drift.score)
        for basis in answer.bases:
            metrics.novelty.labels(monitor=name, basis=basis.basis).set(basis.novelty_now)
        if answer.classes:
            metrics.prediction_drift.labels(monitor=name).set(answer.classes[0].drift.score)

    def _forget(self, name: str) -> None:
        del self._seen[name]
        metrics = self._metrics
        for gauge in (
            metrics.window_images,
            metrics.observed_images,
            metrics.drift_score,
            metrics.drift_significant,
            metrics.drift_groups,
            metrics.novelty,
            metrics.prediction_drift,
        ):
            gauge.remove_by_labels({"monitor": name})
