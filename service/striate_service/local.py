"""A server inside another program, for experiments: `striate.local()` starts it."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any

from striate_service.config import Settings, load
from striate_service.event_loop import new_event_loop
from striate_service.server import Server, address

_OPEN = dict.fromkeys(("tls_certificate", "tls_key", "tls_client_ca", "tokens"))
"""Whatever the environment says of other servers and for other clients: this one is for the calling program alone."""


def private_settings(**changes: object) -> Settings:
    """Return settings of a server for the calling program alone, on a free loopback port."""
    usual: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "metrics_port": -1, **_OPEN}
    return load(**{**usual, **changes})


class LocalServer:
    """A context manager that runs a server on a free loopback port, in its own thread."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or private_settings()
        self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="striate", daemon=True)

    @property
    def target(self) -> str:
        """The server's address, as gRPC takes it."""
        return address(self._settings.host, self._server.port)

    @property
    def metrics_port(self) -> int:
        """The port of `/metrics`; -1: none."""
        return self._server.metrics_port

    def __enter__(self) -> LocalServer:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        except BaseException:
            self._end_thread()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result()
        self._end_thread()

    async def _start(self) -> None:
        self._server = Server(self._settings)  # in this thread, since gRPC and asyncio bind to its event loop
        await self._server.start()

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
