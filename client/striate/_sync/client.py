# Generated from client/striate/_async/client.py by `make client`. Do not edit.
"""The client: the calls of all services over one channel."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import grpc

from striate._sync.bases import BasisCalls
from striate._sync.examples import ExampleCalls
from striate._sync.interpretability import InterpretabilityCalls
from striate._sync.labels import LabelCalls
from striate._sync.models import ModelCalls
from striate._sync.monitoring import MonitoringCalls
from striate.addresses import joined
from striate.transport import Connection, Priority, Tls, channel_credentials


class Client(InterpretabilityCalls, ModelCalls, BasisCalls, ExampleCalls, LabelCalls, MonitoringCalls):
    """A connection to a Striate server. Use it as a context manager, or `close` it.

    `striate.Client` blocks and can be shared by threads; `striate.aio.Client` is awaited and belongs to one event loop.
    They differ in nothing else. Every call takes `timeout`, in seconds, and raises a `StriateError` where it brings no
    answer. The options of each call are documented in `striate.calls`.

    Args:
        target: the server's address, "host:port". Of several, ["a:50051", "b:50051"] or "a:50051,b:50051", or of a name
            with several addresses, "dns:///striate:50051", each takes its turn; with TLS each proves that it is the
            first of a list.
        timeout: seconds that a call waits for its answer, unless it says otherwise.
        max_message_bytes: the largest request and reply.
        caller: who calls, for the server's quotas and fair sharing.
        priority: "batch" for pipelines: they go after everybody who waits for an answer.
        metadata: sent with every call.
        tls: True: the connection is encrypted, and the server proves who it is; `striate.Tls` names the certificates.
        credentials: gRPC's own, in place of `tls`.
        token: says who calls and what they may do, where the server asks for it. Without `tls` anybody on the way can
            read it.
    """

    def __init__(
        self,
        target: str | Sequence[str] = "localhost:50051",
        *,
        timeout: float = 60.0,
        max_message_bytes: int = 64 * 2**20,
        caller: str = "",
        priority: Priority = "interactive",
        metadata: Sequence[tuple[str, str]] = (),
        tls: bool | Tls = False,
        credentials: grpc.ChannelCredentials | None = None,
        token: str = "",
    ) -> None:
        connection = Connection(joined(target), timeout, max_message_bytes, caller, priority, metadata, token)
        super().__init__(connection, channel_credentials(tls, credentials))

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
