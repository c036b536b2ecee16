# Generated from client/striate/_async/icons.py by `make client`. Do not edit.
"""The calls that complete the results of others by icons that were not rendered yet."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TypeVar

import grpc

from striate._sync.base import Connected
from striate.calls.watch_icons import WatchIconsCall
from striate.errors import DeadlineExceeded
from striate.results.icons import Icon, IconProgress, Illustrated
from striate.transport import Connection
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceStub

Results = TypeVar("Results", Illustrated, Sequence[Illustrated])


class IconCalls(Connected):
    def __init__(self, connection: Connection, credentials: grpc.ChannelCredentials | None) -> None:
        super().__init__(connection, credentials)
        self._interpretability = InterpretabilityServiceStub(self._channel)

    def watch_icons(self, icons: Sequence[Icon], *, timeout: float | None = None) -> Generator[IconProgress, None]:
        """Fill in icons of results as they are finished, and yield progress: see `calls.watch_icons`.

        The server forgets what has not begun when the iteration ends early.

        Args:
            timeout: without limit by default.
        """
        call = WatchIconsCall(icons=icons)
        call_options = self._connection.unlimited_call_options(timeout)
        with self._connection.errors():
            responses = self._interpretability.WatchIcons(call.request(), **call_options)
            try:
                for response in responses:
                    yield call.result(response)
            finally:
                responses.cancel()

    def wait_for_icons(
        self,
        results: Results,
        *,
        every: bool = False,
        progress: Callable[[IconProgress], None] | None = None,
        timeout: float | None = None,
    ) -> Results:
        """Have the missing icons of a result, or of several, rendered; fill them in, and return what was given.

        Args:
            every: also those that tell little: of neurons that only lead where little is going on (`telling_icons`).
            progress: called with each report.
            timeout: seconds after which the rest stays missing (`pending_icons`); without limit by default.
        """
        given: Sequence[Illustrated] = [results] if isinstance(results, Illustrated) else results
        wanted = [icon for result in given for icon in (result.icons if every else result.telling_icons)]
        missing = [icon for icon in wanted if icon.status == "queued"]
        if not missing:
            return results
        try:
            with closing(self.watch_icons(missing, timeout=timeout)) as updates:
                for update in updates:
                    if progress:
                        progress(update)
        except DeadlineExceeded:
            return results  # with what came in time
        return results
