"""The HTTP server of /metrics and /health, which readers that take their time cannot fill with threads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment  # of Python 3.11 and later

_READERS = 32  # at a time; further ones are sent away at once
_PATIENCE = 5.0  # seconds that a reader may take to ask, and then to take each part of the answer


class MetricsServer:
    """Serves a registry, and whether requests are answered, until it is closed."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int, serves: Callable[[], bool]) -> None:
        """Listen on a port; 0: a free one.

        Args:
            serves: what /health tells.

        Raises:
            OSError: the port is taken.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = type("_Server", (_BoundedServer,), {"address_family": family})
        self._server: WSGIServer = make_server(
            host, port, _with_health(make_wsgi_app(registry), serves), server, handler_class=_Handler
        )
        self.port: int = self._server.server_port
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _with_health(metrics: WSGIApplication, serves: Callable[[], bool]) -> WSGIApplication:
    """Answer /health as gRPC's health service does, for whoever speaks HTTP only, such as a container's probe."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/health":
            return metrics(environ, start_response)
        status, body = ("200 OK", b"SERVING\n") if serves() else ("503 Service Unavailable", b"NOT_SERVING\n")
        start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    return answer


class _BoundedServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False  # a slow reader does not hold up the end
    request_queue_size = 128

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._free = threading.BoundedSemaphore(_READERS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Readers go away as they like: nothing for the log."""


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE

    def log_message(self, format: str, *arguments: Any) -> None:
        """Scrapes are nothing for the log."""
