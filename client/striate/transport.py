"""How a client reaches a server: the channel, and each call's deadline, metadata, retries and errors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import grpc

from striate.addresses import first_of, for_grpc, is_list, is_on_this_machine, is_several
from striate.errors import from_rpc_error
from striate.service_config import service_config

Priority = Literal["interactive", "batch"]
Request = TypeVar("Request")

ICON_TIMEOUT = 600.0
"""Seconds that a call waits by default when it may have to wait for icons: on a CPU one takes a second or more."""

_RETRY_BUFFER_SLACK = 2**20
"""Bytes of a request besides its message."""


@dataclass(frozen=True)
class Tls:
    """How a connection is encrypted, and who proves what. Files are PEM."""

    ca: str | Path | None = None
    """The certificates that may have signed the server's. None: those that gRPC trusts."""
    certificate: str | Path | None = None
    """The client's own certificate, where the server asks for one (mutual TLS), with those between it and the root."""
    key: str | Path | None = None
    """Its private key."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key are given together, or not at all")

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            OSError: one cannot be read.
        """
        ca, key, certificate = (path and Path(path).read_bytes() for path in (self.ca, self.key, self.certificate))
        return grpc.ssl_channel_credentials(ca or None, key or None, certificate or None)


@dataclass(frozen=True)
class Connection:
    """How to reach a server, and how calls to it are made."""

    target: str = "localhost:50051"
    """The server's address, "host:port"; several, "a:1,b:2"; or what gRPC resolves to several, "dns:///name:port"."""
    timeout: float = 60.0
    """Seconds that a call waits for its answer, unless it says otherwise."""
    max_message_bytes: int = 64 * 2**20
    """The largest request and reply."""
    caller: str = ""
    """Who calls, for the server's quotas and fair sharing."""
    priority: Priority = "interactive"
    """ "batch" for pipelines: they go after everybody who waits for an answer."""
    metadata: Sequence[tuple[str, str]] = field(default=(), repr=False)
    """Sent with every call."""
    token: str = field(default="", repr=False)
    """Says who calls and what they may do, where the server asks for it."""
    proxy: bool = True
    """Whether to go through a proxy that the environment names. None leads to this machine itself in any case."""

    def __post_init__(self) -> None:
        if not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise ValueError("the token holds characters that no token has, such as spaces or line breaks")

    @property
    def channel_options(self) -> list[tuple[str, Any]]:
        listed = is_list(self.target)
        through_proxy = self.proxy and not listed and not is_on_this_machine(self.target)
        options: list[tuple[str, Any]] = [
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.service_config", service_config(balanced=is_several(self.target))),
            # What a call has sent is kept to be sent again. Of more than 256 KB, gRPC's default, none would be: that is
            # every photograph.
            ("grpc.per_rpc_retry_buffer_size", min(self.max_message_bytes + _RETRY_BUFFER_SLACK, 2**31 - 1)),
            ("grpc.keepalive_time_ms", 30_000),
            # gRPC waits for up to two minutes before it tries a server again that was away: in a rollout the next one
            # may be gone by then.
            ("grpc.max_reconnect_backoff_ms", 2_000),
            ("grpc.enable_http_proxy", int(through_proxy)),
        ]
        if listed:  # else the whole list would be the name that certificates have to bear
            options.append(("grpc.default_authority", first_of(self.target)))
        return options

    def call_options(self, timeout: float | None, *, waits_for_icons: bool = False) -> dict[str, Any]:
        """Return the stub's arguments for a call with one answer; one that waits for icons may take longer."""
        usual = max(ICON_TIMEOUT, self.timeout) if waits_for_icons else self.timeout
        return {"timeout": usual if timeout is None else timeout, "metadata": self._call_metadata}

    def unlimited_call_options(self, timeout: float | None) -> dict[str, Any]:
        """Return the stub's arguments for a call that may take as long as it needs, unless `timeout` limits it."""
        return {"timeout": timeout, "metadata": self._call_metadata}

    @property
    def _call_metadata(self) -> tuple[tuple[str, str], ...]:
        caller = (("striate-caller", self.caller),) if self.caller else ()
        priority = (("striate-priority", self.priority),) if self.priority != "interactive" else ()
        token = (("authorization", f"Bearer {self.token}"),) if self.token else ()
        return (*self.metadata, *caller, *priority, *token)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Raise gRPC's errors as those of `striate.errors`."""
        try:
            yield
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.target) from error


def channel_credentials(tls: bool | Tls, credentials: grpc.ChannelCredentials | None) -> grpc.ChannelCredentials | None:
    """Return a channel's credentials; None: it is not encrypted.

    Args:
        tls: True: as `Tls()` says.
        credentials: instead of these.
    """
    if tls and credentials:
        raise ValueError("tls and credentials say the same; give one of them")
    if tls:
        return (Tls() if tls is True else tls).credentials()
    return credentials


def open_async_channel(connection: Connection, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """Open a channel that is awaited, with TLS if there are credentials."""
    target, options = for_grpc(connection.target), connection.channel_options
    if credentials:
        return grpc.aio.secure_channel(target, credentials, options)
    return grpc.aio.insecure_channel(target, options)


def open_sync_channel(connection: Connection, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    """Open a channel that blocks, with TLS if there are credentials."""
    target, options = for_grpc(connection.target), connection.channel_options
    if credentials:
        return grpc.secure_channel(target, credentials, options)
    return grpc.insecure_channel(target, options)


async def async_requests(requests: Iterator[Request]) -> AsyncIterator[Request]:
    """Yield requests that read files, in a thread, so that the event loop does not wait for the disk."""
    while (request := await asyncio.to_thread(next, requests, None)) is not None:
        yield request


def sync_requests(requests: Iterator[Request]) -> Iterator[Request]:
    """Return requests as they are: a blocking channel takes them in a thread of its own."""
    return requests


def open_async_stream(method: Callable[..., Any], requests: AsyncIterator[Any], **call_options: Any) -> Any:
    """Start a call that streams requests, and return it. It ends with the server's own status.

    Where a server ends a call while its caller still sends, grpc.aio may notice first that a request could not be sent,
    and then reports INTERNAL instead of what the server said.
    """
    call = method(requests, **call_options)
    call._cython_call = _ServersStatus(call._cython_call)  # before the event loop sends the first request
    return call


def open_sync_stream(method: Callable[..., Any], requests: Iterator[Any], **call_options: Any) -> Any:
    """Start a call that streams requests, and return it."""
    return method(requests, **call_options)


class _ServersStatus:
    """grpc.aio's inner call, whose status a request that could not be sent does not set: the server's follows."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def set_internal_error(self, _error: str) -> None:
        """Wait for the status that has ended the call."""
