"""The service's life: start, serve, drain."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import threading
from collections.abc import Sequence
from importlib.metadata import version
from wsgiref.simple_server import WSGIServer

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server
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
)

from striate_service.backends.local.backend import LocalBackend
from striate_service.config import EMBEDDED, Settings
from striate_service.explain.rendering import Claims, IconRenderer
from striate_service.models import embedded
from striate_service.models.description import ModelDescription
from striate_service.monitoring.metrics import Metrics
from striate_service.scheduling.engine import Engine
from striate_service.servicers.activations import Activations
from striate_service.servicers.bases import BasisServicer
from striate_service.servicers.building import BasisBuilding
from striate_service.servicers.decoding import ImageDecoder, decode_threads
from striate_service.servicers.dictionaries import SemanticDictionaries
from striate_service.servicers.examples import ExampleServicer
from striate_service.servicers.explainer import Explainer
from striate_service.servicers.factorizations import Factorizations
from striate_service.servicers.flows import GroupFlows
from striate_service.servicers.group_replies import GroupReplies
from striate_service.servicers.icons import IconFinder, IconRendering
from striate_service.servicers.importance import GroupImportance
from striate_service.servicers.indexing import Indexing
from striate_service.servicers.interceptor import Interceptor
from striate_service.servicers.interpretability import InterpretabilityServicer
from striate_service.servicers.labels import LabelServicer
from striate_service.servicers.library import Library
from striate_service.servicers.models import ModelServicer
from striate_service.servicers.naming import Namer
from striate_service.servicers.recipes import RecipeChoice
from striate_service.stores.bases import BasisStore
from striate_service.stores.examples import ExampleStore
from striate_service.stores.folder import Folder
from striate_service.stores.icons import IconStore
from striate_service.stores.labels import LabelSource, LabelStore, StoredLabel
from striate_service.stores.leases import Leases
from striate_service.stores.unfinished import Unfinished

logger = logging.getLogger(__name__)

SERVICES = tuple(
    file.DESCRIPTOR.services_by_name[name].full_name
    for file, name in (
        (interpretability_pb2, "InterpretabilityService"),
        (models_pb2, "ModelService"),
        (labels_pb2, "LabelService"),
        (examples_pb2, "ExampleService"),
        (bases_pb2, "BasisService"),
    )
)
_SERVING, _NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Server:
    """Everything that runs in the server's process, joined together."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.port = settings.port
        self.metrics_port = settings.metrics_port
        self._metrics = Metrics()
        self._metrics.info.info({"version": version("striate")})
        self._health = HealthServicer()
        self._decode_threads = decode_threads(settings.decode_threads)
        self._backend = LocalBackend(settings, self._metrics)
        self._engine = Engine(self._backend, settings, self._metrics)
        icons = Folder(settings.icons or settings.home / "icons")
        store = IconStore(icons, [embedded.ICONS], max_bytes=settings.icons_max_bytes)
        self._renderer = IconRenderer(
            self._engine,
            store,
            Claims(store, Leases(icons, settings.icon_lease), Unfinished(settings.home / "unfinished")),
            self._metrics,
            batch_size=_render_batch_size(settings, [worker.device_name for worker in self._backend.workers]),
            slice_seconds=settings.render_slice,
        )
        self._metrics_server: tuple[WSGIServer, threading.Thread] | None = None

    async def start(self) -> None:
        """Bind the ports, load the models, and answer.

        Raises:
            OSError: a port is taken, or STRIATE_HOME cannot be written to.
            StartError: a model cannot be loaded.
        """
        settings = self.settings
        settings.home.mkdir(parents=True, exist_ok=True)
        options = [
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.max_send_message_length", settings.max_message_bytes),
            # Clients ping to find dead connections; gRPC's default calls any ping within five minutes too many.
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ("grpc.so_reuseport", 0),  # a second server on the same port is a mistake, not a helper
        ]
        self._grpc = grpc.aio.server(interceptors=[Interceptor(self._metrics)], options=options)
        try:
            self.port = self._grpc.add_insecure_port(f"{settings.host}:{settings.port}")
        except RuntimeError as error:
            raise OSError(f"cannot listen on {settings.host}:{settings.port}: is another server there?") from error
        if settings.metrics_port >= 0:
            self._metrics_server = start_http_server(settings.metrics_port, settings.host, self._metrics.registry)
            self.metrics_port = self._metrics_server[0].server_port
        try:
            await self._engine.start()
        except BaseException:
            self._close_metrics()
            raise
        self._labels = LabelStore(
            settings.database or f"sqlite:///{settings.home / 'labels.db'}", _shipped_labels(self._engine.models)
        )
        await self._renderer.start()
        self._register()
        await self._grpc.start()
        for service in ("", *SERVICES):
            await self._health.set(service, _SERVING)

    async def wait(self) -> None:
        """Wait until the server has been stopped."""
        await self._grpc.wait_for_termination()

    async def stop(self) -> None:
        """Take no new requests, answer those that have been accepted, then end everything."""
        await self._health.enter_graceful_shutdown()
        await self._grpc.stop(self.settings.drain_timeout)
        await self._renderer.stop()
        await self._engine.stop()
        self._labels.close()
        self._decode_threads.shutdown()
        self._close_metrics()

    def _register(self) -> None:
        decoder = ImageDecoder(self.settings, self._decode_threads, self._metrics)
        explainer = Explainer(self._engine, decoder)
        examples = ExampleStore(self.settings.home / "examples")
        recipes = RecipeChoice.of(self.settings)
        icons, namer = IconFinder(self._renderer, recipes), Namer(self._labels, examples)
        replies = GroupReplies(icons, namer)
        library = Library(BasisStore(self.settings.home / "bases"))
        importance = GroupImportance(self._engine)
        interpretability = InterpretabilityServicer(
            Activations(explainer, self.settings.max_message_bytes),
            SemanticDictionaries(explainer, icons, namer, examples),
            Factorizations(explainer, self._engine, replies, library, importance),
            GroupFlows(explainer, replies),
            IconRendering(self._engine, self._renderer, recipes, namer),
        )
        interpretability_pb2_grpc.add_InterpretabilityServiceServicer_to_server(interpretability, self._grpc)
        models_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(self._engine.catalogue, self.settings), self._grpc)
        labels_pb2_grpc.add_LabelServiceServicer_to_server(LabelServicer(self._engine, self._labels), self._grpc)
        indexing = Indexing(self._engine, decoder, examples, self._decode_threads)
        examples_pb2_grpc.add_ExampleServiceServicer_to_server(
            ExampleServicer(self._engine, indexing, examples, namer, self.settings.max_message_bytes), self._grpc
        )
        building = BasisBuilding(self._engine, decoder, library, self.settings)
        bases_pb2_grpc.add_BasisServiceServicer_to_server(
            BasisServicer(self._engine, library, building, icons, namer), self._grpc
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        reflection.enable_server_reflection((*SERVICES, health, reflection.SERVICE_NAME), self._grpc)

    def _close_metrics(self) -> None:
        if self._metrics_server:
            self._metrics_server[0].shutdown()
            self._metrics_server[0].server_close()


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    server = Server(settings)
    await server.start()
    gc.collect()
    gc.freeze()  # what is there by now stays; to look through it kept every request waiting 0.2 s, now and then
    metrics = f", metrics on http://{settings.host}:{server.metrics_port}/metrics" if settings.metrics_port >= 0 else ""
    logger.info(
        "serving %s on %s:%d%s",
        ", ".join(model.name for model in settings.models),
        settings.host,
        server.port,
        metrics,
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    logger.info("draining: accepted requests are answered, for at most %.0f s", settings.drain_timeout)
    await server.stop()


def _render_batch_size(settings: Settings, devices: Sequence[str]) -> int:
    if settings.render_batch_size != "auto":
        return settings.render_batch_size
    return 4 if all(device == "cpu" for device in devices) else 16


def _shipped_labels(models: tuple[ModelDescription, ...]) -> list[StoredLabel]:
    """Return the names that ship with the embedded model, if it is among `models`."""
    model = next((each for each in models if each.architecture == EMBEDDED.architecture), None)
    if model is None or not embedded.LABELS.is_file():
        return []
    shipped = json.loads(embedded.LABELS.read_text())
    if shipped["model_version"] != model.version:
        return []  # names of other weights
    return [
        StoredLabel(model_version=model.version, **label | {"source": LabelSource(label["source"])})
        for label in shipped["labels"]
    ]
