"""ImportProfile: what another monitor has kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from striate.profile_files import profile_message
from striate.results.monitoring import Profile
from striate.v1 import monitoring_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class ImportProfileCall:
    """Let a monitor take in what another one of the same model, layers and bases has kept."""

    monitor: str
    """Its name."""
    profile: Profile = field(repr=False)
    """Images that the monitor knows are not counted again."""
    reference_only: bool = False
    """Take its reference alone, or its traffic as a reference where it has none."""

    def request(self) -> messages.ImportProfileRequest:
        return messages.ImportProfileRequest(
            monitor=self.monitor, profile=profile_message(self.profile), reference_only=self.reference_only
        )

    def result(self, response: messages.ImportProfileResponse) -> int:
        return response.added
