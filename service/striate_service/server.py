"""The service's life: start, serve, drain."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection
from striate.v1 import (
    bases_pb2,
    bases_pb2_grpc,
    examples_pb2,
    examples_pb2_grpc,
    interpretability_pb2,
    interpretability_pb2_grpc,
    labels_pb2,
    labels_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    monitoring_pb2,
    monitoring_pb2_grpc,
)

from striate_service.backends.local.backend import LocalBackend
from striate_service.backends.local.devices import count_cores
from striate_service.backends.local.niceness import NICENESS
from striate_service.backends.protocol import StartError
from striate_service.config import Settings
from striate_service.explain.bases import BasisDisplay, Library
from striate_service.explain.building import BasisBuilding
from striate_service.explain.decoding import ImageDecoder, decode_threads
from striate_service.explain.dictionaries import SemanticDictionaries
from striate_service.explain.examples import Examples
from striate_service.explain.factorizations import Factorizations
from striate_service.explain.flows import GroupFlows
from striate_service.explain.groups import GroupExplainer
from striate_service.explain.icon_progress import IconProgress
from striate_service.explain.icons import IconFinder, RecipeChoice
from striate_service.explain.image_runner import ImageRunner
from striate_service.explain.importance import GroupImportance
from striate_service.explain.indexing import ExampleIndexing
from striate_service.explain.monitoring import DriftGauges, DriftReports, Monitors, Profiles
from striate_service.explain.names import Namer
from striate_service.explain.prerendering import ChosenLayer, Prerendering, chosen_layers
from striate_service.explain.rendering import Claims, DetachedIcons, IconQueue, IconRenderer
from striate_service.explain.streams import ImageStreams
from striate_service.heap import keep_low
from striate_service.models import embedded
from striate_service.models.description import ModelDescription
from striate_service.monitoring.http import MetricsServer
from striate_service.monitoring.metrics import Metrics
from striate_service.scheduling.engine import Engine
from striate_service.scheduling.request_memory import RequestMemory
from striate_service.servicers.access import Access
from striate_service.servicers.bases import BasisServicer
from striate_service.servicers.connections import channel_options
from striate_service.servicers.examples import ExampleServicer
from striate_service.servicers.interceptor import Interceptor
from striate_service.servicers.interpretability.reader import Reader
from striate_service.servicers.interpretability.service import InterpretabilityServicer
from striate_service.servicers.labels import LabelServicer
from striate_service.servicers.models import ModelServicer
from striate_service.servicers.monitoring import MonitoringServicer
from striate_service.servicers.tls import server_credentials
from striate_service.servicers.unsent_replies import UnsentReplies
from striate_service.stores.bases import BasisStore
from striate_service.stores.examples import ExampleStore
from striate_service.stores.folder import Folder
from striate_service.stores.icons import IconStore
from striate_service.stores.labels import LabelSource, LabelStore, StoredLabel
from striate_service.stores.leases import Leases
from striate_service.stores.monitors import MonitorStore
from striate_service.stores.sizes import store_sizes
from striate_service.stores.unfinished import Unfinished

if TYPE_CHECKING:
    from striate_service.monitoring.tracing import Tracing

logger = logging.getLogger(__name__)

SERVICES = tuple(
    file.DESCRIPTOR.services_by_name[name].full_name
    for file, name in (
        (interpretability_pb2, "InterpretabilityService"),
        (models_pb2, "ModelService"),
        (labels_pb2, "LabelService"),
        (examples_pb2, "ExampleService"),
        (bases_pb2, "BasisService"),
        (monitoring_pb2, "MonitoringService"),
    )
)
_STORES_INTERVAL = 300.0  # seconds between measurements of the stores: a hundred thousand files take a second
_SERVING, _NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Server:
    """Composes the parts of the server's process, and starts and stops them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.port = settings.port
        self.metrics_port = settings.metrics_port
        self._metrics = Metrics()
        self._metrics.info.info({"version": version("striate")})
        self._health = HealthServicer()
        self._decode_threads = decode_threads(_decode_thread_count(settings), NICENESS)
        self._backend = LocalBackend(settings, self._metrics)
        self._memory = RequestMemory(settings.max_request_bytes_in_progress)
        self._engine = Engine(self._backend, settings, self._metrics)
        icons = _icon_folder(settings)
        store = IconStore(
            icons,
            [embedded.ICONS],
            max_bytes=settings.icons_max_bytes,
            on_found=lambda source: self._metrics.icon_sources.labels(source=source).inc(),
        )
        self._renderer = IconRenderer(
            self._engine,
            store,
            Claims(store, Leases(icons, settings.icon_lease), Unfinished(settings.home / "unfinished")),
            IconQueue(
                _render_batch_size(settings, [worker.device_name for worker in self._backend.workers]),
                settings.max_icons,
                settings.max_icons_per_caller,
            ),
            self._metrics,
            slice_seconds=settings.render_slice,
        )
        self._answers = False
        """What health tells."""
        self._background: list[asyncio.Task[None]] = []
        self._metrics_server: MetricsServer | None = None
        self._tracing: Tracing | None = None

    async def start(self) -> None:
        """Bind the ports, load the models, and serve.

        Raises:
            OSError: a port is taken, or STRIATE_HOME cannot be written to.
            StartError: a model, the tokens or the certificates cannot be loaded, or a setting is unsafe.
        """
        settings = self.settings
        check_exposure(settings)
        settings.home.mkdir(parents=True, exist_ok=True)
        try:
            access = Access(settings.tokens, settings.open_services) if settings.tokens else None
            credentials = _credentials(settings)
            self._tracing = _tracing() if settings.tracing else None
        except ValueError as error:
            raise StartError(str(error)) from error
        self._grpc = grpc.aio.server(
            interceptors=[
                Interceptor(
                    self._metrics,
                    self._memory,
                    UnsentReplies(settings.max_reply_bytes_in_progress),
                    settings.max_message_bytes,
                    settings.max_calls,
                    settings.message_timeout,
                    access,
                    lambda: [model.name for model in self._engine.models],
                    self._tracing,
                )
            ],
            options=channel_options(
                settings.max_message_bytes, settings.max_connection_age, settings.max_connection_age_grace
            ),
        )
        place = address(settings.host, settings.port)
        try:
            self.port = (
                self._grpc.add_secure_port(place, credentials) if credentials else self._grpc.add_insecure_port(place)
            )
        except RuntimeError as error:
            raise _taken(place) from error
        try:
            if settings.metrics_port >= 0:
                self._metrics_server = self._metrics_server_at(settings.metrics_host or settings.host)
                self.metrics_port = self._metrics_server.port
            await self._engine.start()
            prerendered = _prerendered(settings, self._engine.models)
            self._labels = LabelStore(settings.database_of("labels"), _shipped_labels(self._engine.models))
            self._monitor_store = MonitorStore(settings.database_of("monitors"))
            await self._renderer.start()
            self._register()
            await self._grpc.start()
        except BaseException:
            await self._engine.stop()
            await self._close_telemetry()
            raise
        await self._tell_health(True)
        self._engine.on_health = self._health_changed
        prerendering = Prerendering(self._renderer, RecipeChoice.of(settings))
        self._background += [
            asyncio.create_task(prerendering.render(prerendered)),
            asyncio.create_task(self._gauges.keep()),
            asyncio.create_task(keep_low()),
            asyncio.create_task(self._measure_stores()),
        ]

    async def wait(self) -> None:
        """Wait until the server has been stopped."""
        await self._grpc.wait_for_termination()

    async def stop(self) -> None:
        """Tell balancers, then refuse new requests, answer accepted ones, then stop everything."""
        self._engine.on_health = lambda answers: None  # it stays so
        self._answers = False
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(self.settings.drain_delay)
        await self._grpc.stop(self.settings.drain_timeout)
        for task in self._background:
            task.cancel()
        await self._renderer.stop()
        await self._engine.stop()
        self._labels.close()
        self._monitor_store.close()
        self._decode_threads.shutdown()
        await self._close_telemetry()

    def _register(self) -> None:
        settings, engine, server = self.settings, self._engine, self._grpc
        decoder = ImageDecoder(settings, self._decode_threads, self._metrics)
        example_store = ExampleStore(settings.home / "examples")
        library = Library(BasisStore(settings.home / "bases"))
        recipes = RecipeChoice.of(settings)
        icons, namer = IconFinder(self._renderer), Namer(self._labels, example_store, self._metrics)
        runner, streams = ImageRunner(engine, decoder), ImageStreams(engine, decoder, self._memory, settings)
        groups = GroupExplainer(icons, namer)
        detached = DetachedIcons(
            self._renderer, self._metrics, settings.max_detached_icons, settings.max_detached_icons_per_caller
        )

        interpretability = InterpretabilityServicer(
            Reader(engine.catalogue, library, recipes, settings.max_images_per_request),
            runner,
            SemanticDictionaries(runner, icons, namer, example_store),
            Factorizations(runner, engine, groups, library, GroupImportance(engine), self._metrics),
            GroupFlows(runner, groups, self._metrics),
            IconProgress(self._renderer, namer, detached),
            self._memory,
        )
        models = ModelServicer(engine.catalogue, settings)
        labels = LabelServicer(engine, self._labels, settings)
        indexing = ExampleIndexing(streams, example_store, self._decode_threads)
        examples = ExampleServicer(engine, Examples(example_store, namer), indexing, settings)
        display = BasisDisplay(engine, library, icons, recipes, namer)
        building = BasisBuilding(streams, library, self._backend.spool, settings)
        bases = BasisServicer(engine, library, display, building, settings)
        store = self._monitor_store
        monitors = Monitors(engine, streams, library, store, self._decode_threads)
        reports = DriftReports(engine, monitors, library, store, namer, icons, recipes, self._decode_threads)
        profiles = Profiles(engine, monitors, library, store)
        self._gauges = DriftGauges(monitors, reports, self._metrics)
        monitoring = MonitoringServicer(engine, monitors, reports, profiles, library, settings)
        interpretability_pb2_grpc.add_InterpretabilityServiceServicer_to_server(interpretability, server)
        models_pb2_grpc.add_ModelServiceServicer_to_server(models, server)
        labels_pb2_grpc.add_LabelServiceServicer_to_server(labels, server)
        examples_pb2_grpc.add_ExampleServiceServicer_to_server(examples, server)
        bases_pb2_grpc.add_BasisServiceServicer_to_server(bases, server)
        monitoring_pb2_grpc.add_MonitoringServiceServicer_to_server(monitoring, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        reflection.enable_server_reflection((*SERVICES, health, reflection.SERVICE_NAME), server)

    async def _measure_stores(self) -> None:
        while True:
            self._metrics.count_stores(await asyncio.to_thread(store_sizes, self.settings.home))
            await asyncio.sleep(_STORES_INTERVAL)

    def _health_changed(self, answers: bool) -> None:
        if answers is not self._answers:
            self._telling = asyncio.create_task(self._tell_health(answers))

    async def _tell_health(self, answers: bool) -> None:
        self._answers = answers
        for service in ("", *SERVICES):
            await self._health.set(service, _SERVING if answers else _NOT_SERVING)

    def _metrics_server_at(self, host: str) -> MetricsServer:
        try:
            return MetricsServer(self._metrics.registry, host, self.settings.metrics_port, lambda: self._answers)
        except OSError as error:
            raise _taken(address(host, self.settings.metrics_port)) from error

    async def _close_telemetry(self) -> None:
        if self._metrics_server:
            self._metrics_server.close()
        if self._tracing:
            await asyncio.to_thread(self._tracing.close)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # before the start, which takes a while and can be given up
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = Server(settings)
    if not await _started(server, stop):
        logger.info("stopped before it served")
        return
    gc.collect()
    gc.freeze()  # these objects stay alive; collecting over them delayed all requests by 0.2 s now and then
    names, place = ", ".join(model.name for model in settings.models), address(settings.host, server.port)
    metrics = f", metrics on http://{address(settings.metrics_host or settings.host, server.metrics_port)}/metrics"
    logger.info(
        "serving %s on %s%s%s",
        names,
        place,
        " with TLS" if settings.tls_certificate else "",
        metrics if settings.metrics_port >= 0 else "",
    )
    await stop.wait()
    logger.info("draining: accepted requests are answered, for at most %.0f s", settings.drain_timeout)
    await server.stop()


async def _started(server: Server, stop: asyncio.Event) -> bool:
    """Start a server, and return whether it serves: not if it is to stop before."""
    starting, stopping = asyncio.create_task(server.start()), asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
    try:
        await starting
    except asyncio.CancelledError:
        return False
    return True


def address(host: str, port: int) -> str:
    """Return HOST:PORT as gRPC and URLs have it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _taken(place: str) -> OSError:
    return OSError(f"cannot listen on {place}: is another server there?")


def _tracing() -> Tracing:
    try:
        from striate_service.monitoring.tracing import Tracing
    except ImportError as error:
        raise StartError(f"tracing needs OpenTelemetry: pip install 'striate[otel]' ({error})") from error
    return Tracing()


def _icon_folder(settings: Settings) -> Folder:
    try:
        return Folder(settings.icons or settings.home / "icons")
    except (ImportError, ValueError) as error:
        raise StartError(f"icons: {settings.icons} cannot be used: {error}") from error


def check_exposure(settings: Settings) -> None:
    """Warn, in one line, of callers who may do what they should not.

    Raises:
        StartError: they could do so with a setting that gives more than answers.
    """
    if not settings.exposure:
        return
    for name in ("allow_model_changes", "image_folders"):
        if getattr(settings, name) and not settings.insecure:
            raise StartError(
                f"{name} is refused on {settings.host}, where {settings.exposure}. Set these up (docs/security.md), "
                "listen on 127.0.0.1, or set insecure = true."
            )
    logger.warning("on %s %s: see docs/security.md", settings.host, settings.exposure)


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    if settings.tls_certificate and settings.tls_key:
        return server_credentials(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    return None


def _prerendered(settings: Settings, models: Sequence[ModelDescription]) -> list[ChosenLayer]:
    try:
        return chosen_layers(settings.models, models)
    except ValueError as error:
        raise StartError(str(error)) from error


def _decode_thread_count(settings: Settings) -> int:
    return max(2, count_cores() // 2) if settings.decode_threads == "auto" else settings.decode_threads


def _render_batch_size(settings: Settings, devices: Sequence[str]) -> int:
    if settings.render_batch_size != "auto":
        return settings.render_batch_size
    return 1 if all(device == "cpu" for device in devices) else 16


def _shipped_labels(models: tuple[ModelDescription, ...]) -> list[StoredLabel]:
    """Return the channel names that ship with those of the embedded models that `models` has."""
    served = {model.version for model in models}
    files = [json.loads(file.read_text()) for file in (embedded.LABELS, embedded.VIT_LABELS) if file.is_file()]
    return [
        StoredLabel(
            model_version=shipped["model_version"],
            layer=label["layer"],
            channel=label["channel"],
            text=label["text"],
            source=LabelSource(label["source"]),
            score=label.get("score"),
            author=label.get("author", ""),
        )
        for shipped in files
        if shipped["model_version"] in served  # else the names belong to other weights
        for label in shipped["labels"]
    ]
