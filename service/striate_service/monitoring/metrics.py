"""Every metric of the service: name, unit, labels and meaning. docs/metrics.md is generated from this file."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)

WORKER_STATES = ("starting", "idle", "busy", "down", "stopped")


class Metrics:
    """The metrics of one server. Label values come from the operator or this code, never from a caller's free text."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.requests = Counter(
            "striate_requests",
            "Requests answered, by gRPC method and status code.",
            ["method", "code"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "striate_request_duration_seconds",
            "Time from a request's arrival to its reply.",
            ["method"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.requests_in_progress = Gauge(
            "striate_requests_in_progress",
            "Requests that have arrived and not been answered.",
            ["method"],
            registry=self.registry,
        )
        self.images = Counter("striate_images", "Images explained, by model.", ["model"], registry=self.registry)
        self.decode_seconds = Histogram(
            "striate_image_decode_duration_seconds",
            "Time to decode and resize an image.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.queue_jobs = Gauge(
            "striate_queue_jobs", "Jobs that wait for a worker, by lane.", ["lane"], registry=self.registry
        )
        self.queue_wait = Histogram(
            "striate_queue_wait_seconds",
            "Time that jobs waited for a worker.",
            ["lane"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_images = Histogram(
            "striate_batch_size_images",
            "Images that went through a network together.",
            ["model"],
            buckets=_IMAGES,
            registry=self.registry,
        )
        self.batch_limits = Gauge(
            "striate_batch_limit_images",
            "Images that one forward takes: measured, unless it was set by hand.",
            ["model", "device"],
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "striate_batch_duration_seconds",
            "Time that a worker took over a batch, by kind of task.",
            ["device", "task"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.workers = Gauge(
            "striate_workers", "Workers, by device and state.", ["device", "state"], registry=self.registry
        )
        self.worker_restarts = Counter(
            "striate_worker_restarts",
            "Worker processes that died and were replaced.",
            ["device"],
            registry=self.registry,
        )
        self.worker_failed_starts = Counter(
            "striate_worker_failed_starts",
            "Tries to replace a dead worker process that failed.",
            ["device"],
            registry=self.registry,
        )
        self.names_unavailable = Counter(
            "striate_names_unavailable",
            "Lookups of names that the label database did not answer; the replies had none.",
            registry=self.registry,
        )
        self.icon_lookups = Counter(
            "striate_icon_lookups",
            "Icons asked for, by whether the store had them (hit, miss).",
            ["result"],
            registry=self.registry,
        )
        self.icons_rendered = Counter("striate_icons_rendered", "Icons rendered.", ["model"], registry=self.registry)
        self.icons_dropped = Counter(
            "striate_icons_dropped",
            "Icons that were not rendered to the end, since nobody waited for them any more.",
            registry=self.registry,
        )
        self.icons_pending = Gauge(
            "striate_icons_pending", "Icons that are queued or being rendered.", registry=self.registry
        )
        self.icons_detached = Gauge(
            "striate_icons_detached",
            "Icons that are queued or being rendered and that nobody needs to wait for.",
            registry=self.registry,
        )
        self.drift_score = Gauge(
            "striate_drift_score",
            "The largest drift of a layer's channels: beyond 1 it is more than chance explains.",
            ["monitor", "layer"],
            registry=self.registry,
        )
        self.drift_significant = Gauge(
            "striate_drift_significant_channels",
            "Channels of a layer whose drift is more than chance explains.",
            ["monitor", "layer"],
            registry=self.registry,
        )
        self.drift_groups = Gauge(
            "striate_drift_group",
            "The drift of how much a group is used: beyond 1 it is more than chance explains.",
            ["monitor", "basis", "group"],
            registry=self.registry,
        )
        self.novelty = Gauge(
            "striate_novelty",
            "The mean share of an image's squared activations that no group of the basis explains.",
            ["monitor", "basis"],
            registry=self.registry,
        )
        self.prediction_drift = Gauge(
            "striate_prediction_drift",
            "The largest drift of how often a class is predicted: beyond 1 it is more than chance explains.",
            ["monitor"],
            registry=self.registry,
        )
        self.window_images = Gauge(
            "striate_window_images",
            "Newest images of traffic that are compared with the reference.",
            ["monitor"],
            registry=self.registry,
        )
        self.observed_images = Gauge(
            "striate_observed_images",
            "Images of traffic that a monitor has taken in since it was made.",
            ["monitor"],
            registry=self.registry,
        )
        self.info = Info("striate_build", "The server's version.", registry=self.registry)

    def observe_batch(self, device: str, kind: str, model: str, images: int, seconds: float) -> None:
        """Record a finished batch. `images`: how many went through the network."""
        self.batch_seconds.labels(device=device, task=kind).observe(seconds)
        if images:
            self.batch_images.labels(model=model).observe(images)

    def count_batch_limits(self, limits: Iterable[tuple[str, str, int]]) -> None:
        """Set every model's limit on every device."""
        self.batch_limits.clear()
        for model, device, images in limits:
            self.batch_limits.labels(model=model, device=device).set(images)

    def describe(self) -> list[tuple[str, str, tuple[str, ...], str]]:
        """Return each metric's exposed name, type, labels and meaning, in the order of their definition."""
        rows = []
        for metric in vars(self).values():
            if isinstance(metric, Counter | Gauge | Histogram | Info):
                family = next(iter(metric.describe()))
                name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
                rows.append((name, family.type, tuple(getattr(metric, "_labelnames", ())), family.documentation))
        return rows
