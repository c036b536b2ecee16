"""How a client reaches a server, and what all of its calls share: the time they may take, and the errors they raise."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import grpc

from striate.errors import from_rpc_error

Priority = Literal["interactive", "batch"]

ICON_TIMEOUT = 600.0
"""Seconds that a call waits by default when it may have to wait for icons: on a CPU one takes a second or more."""

_REPEATABLE = ("ListBases", "GetBasis", "DeleteBasis")  # of BasisService: not the streaming of a folder
_SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [
                    *({"service": f"striate.v1.{name}Service"} for name in ("Interpretability", "Model", "Label")),
                    *({"service": "striate.v1.BasisService", "method": verb} for verb in _REPEATABLE),
                    {"service": "striate.v1.ExampleService", "method": "GetExamples"},  # not the streaming of a folder
                ],
                # Every call can be repeated: setting a label, or saving a basis, twice is doing it once.
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.2s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)


@dataclass(frozen=True)
class Connection:
    """How to reach a server."""

    target: str = "localhost:50051"
    timeout: float = 60.0
    """Seconds that a call waits for its answer, unless it says otherwise."""
    max_message_bytes: int = 64 * 2**20
    """The largest request and reply."""
    caller: str = ""
    """Who calls, for the server's quotas and fair sharing."""
    priority: Priority = "interactive"
    metadata: Sequence[tuple[str, str]] = field(default=(), repr=False)

    @property
    def options(self) -> list[tuple[str, Any]]:
        return [
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.service_config", _SERVICE_CONFIG),
            ("grpc.keepalive_time_ms", 30_000),
        ]

    @property
    def call_metadata(self) -> tuple[tuple[str, str], ...]:
        caller = (("striate-caller", self.caller),) if self.caller else ()
        priority = (("striate-priority", self.priority),) if self.priority != "interactive" else ()
        return (*self.metadata, *caller, *priority)


class Connected:
    """What both clients share, whichever services they call."""

    _connection: Connection

    @property
    def target(self) -> str:
        return self._connection.target

    def _how(self, timeout: float | None, *, waits: bool = False) -> dict[str, Any]:
        """Return a call's options; one that waits for icons may take longer."""
        usual = max(ICON_TIMEOUT, self._connection.timeout) if waits else self._connection.timeout
        return {"timeout": usual if timeout is None else timeout, "metadata": self._connection.call_metadata}

    def _how_long(self, timeout: float | None) -> dict[str, Any]:
        """Return the options of a call that goes on as long as it takes, unless told otherwise."""
        return {"timeout": timeout, "metadata": self._connection.call_metadata}

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.target) from error
