"""AddOutcomes: what images really show, as it turns out later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from striate.v1 import monitoring_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class AddOutcomesCall:
    """Say which classes images of traffic really are of."""

    monitor: str
    """Its name."""
    outcomes: Mapping[str, str] = field(repr=False)
    """The class's name by the image's id."""

    def request(self) -> messages.AddOutcomesRequest:
        return messages.AddOutcomesRequest(
            monitor=self.monitor,
            outcomes=[messages.Outcome(id=each, class_name=name) for each, name in self.outcomes.items()],
        )

    def result(self, response: messages.AddOutcomesResponse) -> int:
        return response.added
