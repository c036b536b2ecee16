"""What the server asks of connections, so that peers which are gone, or never speak, hold nothing for long."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from typing import Any

_PING_SECONDS = 60.0  # of silence, after which the server asks whether the peer is there; many idle clients cost little
_PING_PATIENCE = 20.0  # seconds for the answer, else the connection is closed and its calls end
_HANDSHAKE_PATIENCE = 20.0  # seconds for a new connection's handshake; slow links need one or two
_CLIENTS_PINGS = 5.0  # seconds that have to lie between a client's own pings; gRPC's default of 300 sends clients away
_OWN_DESCRIPTORS = 128  # kept from connections: a server of one model has 45 open, a worker that is started takes 6
_FEWEST_CONNECTIONS = 32
_MOST_UNSEEN = 16_384  # calls, of some kilobytes each


def channel_options(max_message_bytes: int, max_age: float, max_age_grace: float) -> Sequence[tuple[str, Any]]:
    """Return gRPC's options of a server.

    Args:
        max_message_bytes: of the largest request and the largest reply.
        max_age: seconds, more or less, after which a connection takes no new calls. 0: it always does.
        max_age_grace: seconds that those under way then still have. 0: no limit.
    """
    return [
        *_limited("grpc.max_connection_age_ms", max_age),
        *_limited("grpc.max_connection_age_grace_ms", max_age_grace),
        # Twice as much as is taken: gRPC ends calls with larger requests by itself, as if their callers had cancelled
        # them, and nobody can count these. Up to there they are refused in words and counted (`receiving`).
        ("grpc.max_receive_message_length", min(2 * max_message_bytes, 2**31 - 1)),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.server_handshake_timeout_ms", _milliseconds(_HANDSHAKE_PATIENCE)),
        ("grpc.keepalive_time_ms", _milliseconds(_PING_SECONDS)),
        ("grpc.keepalive_timeout_ms", _milliseconds(_PING_PATIENCE)),
        ("grpc.http2.ping_timeout_ms", _milliseconds(_PING_PATIENCE)),  # else a minute, whatever keepalive says
        ("grpc.keepalive_permit_without_calls", 1),  # idle clients ping, and are pinged, too
        ("grpc.http2.max_pings_without_data", 0),  # as many as it takes; gRPC's default ends them after two
        ("grpc.http2.min_ping_interval_without_data_ms", _milliseconds(_CLIENTS_PINGS)),
        # What has arrived and this process has not seen yet. Beyond that gRPC itself ends calls at random, as CANCELLED
        # and without a reason: from 1,000 on by default. Ours are refused in words (`calls_under_way`).
        ("grpc.server.max_pending_requests", _MOST_UNSEEN),
        ("grpc.server.max_pending_requests_hard_limit", 2 * _MOST_UNSEEN),
        ("grpc.max_allowed_incoming_connections", _most_connections()),  # further ones are closed at once
        ("grpc.so_reuseport", 0),  # a second server on the same port is a mistake
    ]


def _limited(option: str, seconds: float) -> list[tuple[str, Any]]:
    return [(option, min(_milliseconds(seconds), 2**31 - 1))] if seconds else []


def _most_connections() -> int:
    """Return how many connections leave descriptors for workers that are to be replaced, and for files."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_FEWEST_CONNECTIONS, min(descriptors, 2**31 - 1) - _OWN_DESCRIPTORS)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
