"""ListMonitors: the monitors that there are."""

from __future__ import annotations

from dataclasses import dataclass

from striate.calls.monitors import read_monitor
from striate.results.monitoring import Monitor
from striate.v1 import monitoring_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class ListMonitorsCall:
    """Which monitors are there?"""

    def request(self, page_token: str = "") -> messages.ListMonitorsRequest:
        return messages.ListMonitorsRequest(page_token=page_token)

    def result(self, response: messages.ListMonitorsResponse) -> list[Monitor]:
        return [read_monitor(monitor) for monitor in response.monitors]
