"""Every metric of the service: name, unit, labels and meaning. docs/metrics.md is generated from this file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Metric, ProcessCollector

from striate_service.monitoring.requests import RequestRecord

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_RENDERING_SECONDS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_ITERATIONS = (10, 25, 50, 100, 200, 400, 800)
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)

WORKER_STATES = ("starting", "idle", "busy", "down", "stopped")


class _Registry(CollectorRegistry):
    """Without the client library's series of when each counter was created, which double what is stored."""

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Metrics:
    """The metrics of one server. Label values come from the operator or this code, never from a caller's free text."""

    def __init__(self) -> None:
        self.registry: CollectorRegistry = _Registry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "striate_requests",
            "Requests answered, by gRPC method, model (a loaded one's name, `unknown`, or none) and status code. A "
            "call that its caller ends at its deadline is DEADLINE_EXCEEDED.",
            ["method", "model", "code"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "striate_request_duration_seconds",
            "Time from a request's arrival to its reply.",
            ["method", "model", "code"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "striate_request_stage_duration_seconds",
            "Time of a request that was answered in a stage: decode (its images), queue (waiting for a worker), "
            "transport (to the worker and back), compute (in the worker), encode (the reply). Parts of a stream that "
            "are worked on at the same time add up.",
            ["method", "stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.refusals = Counter(
            "striate_refusals",
            "Requests refused for their size or for the load, by reason: queue (it is full), quota (the caller's), "
            "overload (the answer would miss the deadline), bytes (of all requests under way), calls (under way), "
            "icons (queued), oversized (a request or its reply).",
            ["method", "reason"],
            registry=self.registry,
        )
        self.received_bytes = Counter(
            "striate_received_bytes", "Bytes of requests, uncompressed.", ["method"], registry=self.registry
        )
        self.sent_bytes = Counter(
            "striate_sent_bytes", "Bytes of replies, uncompressed.", ["method"], registry=self.registry
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
        self.oldest_wait = Gauge(
            "striate_oldest_waiting_job_seconds",
            "How long the oldest of the jobs that wait for a worker has waited; 0 where none waits.",
            ["lane"],
            registry=self.registry,
        )
        self.queue_wait = Histogram(
            "striate_queue_wait_seconds",
            "Time that jobs waited for a worker, once their images were decoded.",
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
        self.device_memory = Gauge(
            "striate_device_memory_used_bytes",
            "Memory of a GPU that is taken, by whichever process.",
            ["device"],
            registry=self.registry,
        )
        self.device_memory_total = Gauge(
            "striate_device_memory_bytes", "Memory that a GPU has.", ["device"], registry=self.registry
        )
        self.device_utilization = Gauge(
            "striate_device_utilization_ratio",
            "Share of the last second or so in which a GPU computed, where NVML tells (pip install nvidia-ml-py).",
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
        self.icon_sources = Counter(
            "striate_icon_sources",
            "Icons by where they came from: memory, store, shipped (with an embedded model), rendered.",
            ["source"],
            registry=self.registry,
        )
        self.icon_seconds = Histogram(
            "striate_icon_render_duration_seconds",
            "Time from when an icon's rendering began here to its end, pauses for requests included.",
            ["model"],
            buckets=_RENDERING_SECONDS,
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
        self.factorization_iterations = Histogram(
            "striate_factorization_iterations",
            "Iterations that a factorization took, by method.",
            ["method"],
            buckets=_ITERATIONS,
            registry=self.registry,
        )
        self.factorization_error = Histogram(
            "striate_factorization_relative_error",
            "What a factorization left out: its error's norm as a share of that of the activations.",
            ["method"],
            buckets=_SHARES,
            registry=self.registry,
        )
        self.store_bytes = Gauge(
            "striate_store_bytes",
            "Size of what the server keeps in its home folder, by kind; measured every five minutes.",
            ["store"],
            registry=self.registry,
        )
        self.store_files = Gauge(
            "striate_store_files", "Files of what the server keeps, by kind.", ["store"], registry=self.registry
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

    def observe_request(self, request: RequestRecord, code: str, seconds: float) -> None:
        """Record an answered request. Those who ask for OpenMetrics find its trace beside its times."""
        exemplar = {"trace_id": request.trace_id} if request.trace_id else None
        labels = {"method": request.method, "model": request.model, "code": code}
        self.requests.labels(**labels).inc(exemplar=exemplar)
        self.request_seconds.labels(**labels).observe(seconds, exemplar)
        for stage, spent in request.seconds.items():
            self.stage_seconds.labels(method=request.method, stage=stage).observe(spent, exemplar)

    def observe_factorization(self, method: str, iterations: int, relative_error: float) -> None:
        """Record that groups were found. `iterations`: 0 where nothing was iterated."""
        self.factorization_error.labels(method=method).observe(relative_error)
        if iterations:
            self.factorization_iterations.labels(method=method).observe(iterations)

    def observe_device(self, device: str, used: int, total: int, utilization: float | None) -> None:
        """Record how much of a GPU is in use. Sizes are in bytes, the utilization is 0 to 1 or not known."""
        self.device_memory.labels(device=device).set(used)
        self.device_memory_total.labels(device=device).set(total)
        if utilization is not None:
            self.device_utilization.labels(device=device).set(utilization)

    def count_stores(self, sizes: Iterable[tuple[str, int, int]]) -> None:
        """Set what is kept: each kind's name, files and bytes."""
        for store, files, size in sizes:
            self.store_files.labels(store=store).set(files)
            self.store_bytes.labels(store=store).set(size)

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
