"""A server within the calling program, for trying things out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

from striate._sync.client import Client


@contextlib.contextmanager
def local(**options: Any) -> Iterator[Client]:
    """Yield a client of a server within this program, with the embedded model, on a free loopback port.

        with striate.local() as client:
            client.models()

    Args:
        **options: those of `Client`, without its target.

    Raises:
        ImportError: the server is not installed.
    """
    found = [entry for entry in entry_points(group="striate.local") if entry.name == "server"]
    try:
        server_type = found[0].load()
    except (IndexError, ImportError) as error:
        raise ImportError(
            f"striate.local() needs the server in this environment: pip install 'striate[service]' ({error})"
        ) from error
    with server_type() as server, Client(server.target, **options) as client:
        yield client
