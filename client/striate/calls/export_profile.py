"""ExportProfile: what a monitor keeps."""

from __future__ import annotations

from dataclasses import dataclass

from striate.profile_files import profile_from
from striate.results.monitoring import Profile
from striate.v1 import monitoring_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class ExportProfileCall:
    """Return what a monitor keeps of images."""

    monitor: str
    """Its name."""
    pictures: bool = True
    """False: only numbers."""

    def request(self) -> messages.ExportProfileRequest:
        return messages.ExportProfileRequest(monitor=self.monitor, omit_pictures=not self.pictures)

    def result(self, response: messages.ExportProfileResponse) -> Profile:
        return profile_from(response.profile)
