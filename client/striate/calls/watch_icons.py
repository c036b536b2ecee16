"""WatchIcons: the icons that replies lacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from striate.calls.replies import read_icon
from striate.results.icons import Icon, IconProgress
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class WatchIconsCall:
    """Render these icons, fill them in, and say how far they are."""

    icons: Sequence[Icon] = field(repr=False)
    """Those that are queued are rendered, the first ones first. At most 4,096, and 8 MiB of directions:
    those of groups, positions and silenced neurons have 4 bytes a channel."""

    @cached_property
    def waiting(self) -> dict[bytes, list[Icon]]:
        """Icons that can be asked for, by key: the same neuron may stand in several results."""
        found: dict[bytes, list[Icon]] = {}
        for icon in self.icons:
            if icon.status == "queued" and icon.key:
                found.setdefault(icon.key, []).append(icon)
        return found

    def request(self) -> messages.WatchIconsRequest:
        return messages.WatchIconsRequest(keys=map(pb.IconKey.FromString, self.waiting), previews=True)

    def result(self, response: messages.WatchIconsResponse) -> IconProgress:
        """Fill in the icons of a message, and return what it says."""
        by_index = list(self.waiting.values())
        finished, shown = [], []
        for each in response.previews:
            for icon in by_index[each.index]:
                icon.data = each.icon.data
                shown.append(icon)
        for each in response.icons:
            picture = read_icon(each.icon)
            for icon in by_index[each.index]:
                icon.status, icon.data, icon.key = picture.status, picture.data, picture.key
                finished.append(icon)
        return IconProgress(
            completed=response.completed,
            total=response.total,
            progress=response.progress,
            remaining=response.remaining_seconds if response.HasField("remaining_seconds") else None,
            icons=finished,
            previews=shown,
        )
