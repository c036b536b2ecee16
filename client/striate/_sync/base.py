# Generated from client/striate/_async/base.py by `make client`. Do not edit.
"""What the calls of every service share: the connection and its channel."""

from __future__ import annotations

import grpc

from striate.tracing import traced
from striate.transport import Connection, open_sync_channel


class Connected:
    """An open channel to a server."""

    def __init__(self, connection: Connection, credentials: grpc.ChannelCredentials | None) -> None:
        self._connection = connection
        self._channel = traced(open_sync_channel(connection, credentials), connection.target)

    @property
    def target(self) -> str:
        """The server's address."""
        return self._connection.target

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()
