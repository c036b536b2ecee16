"""GetDrift: what a network sees more or less of than in a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from striate.calls.monitors import read_change, read_monitor
from striate.calls.replies import read_icon, read_label
from striate.results.icons import IconSource
from striate.results.monitoring import (
    BasisDrift,
    ChannelDrift,
    ClassDrift,
    ConceptDrift,
    GroupDrift,
    LayerDrift,
    SliceSummary,
)
from striate.show import Drift
from striate.v1 import monitoring_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class DriftCall:
    """Compare the newest images of traffic with the reference."""

    monitor: str
    """Its name."""
    items: int | None = None
    """How many channels and groups, 20 by default."""
    pictures: int | None = None
    """How many pictures of each, of the reference and of traffic, 3 by default."""
    slice: str = ""
    """Only the images of this slice; empty: all."""
    icons: bool = True
    """False: send no icons."""

    def request(self) -> messages.GetDriftRequest:
        return messages.GetDriftRequest(
            monitor=self.monitor,
            items=self.items,
            pictures=self.pictures,
            slice=self.slice,
            omit_icons=not self.icons,
        )

    def result(self, response: messages.GetDriftResponse, client: IconSource | None = None) -> Drift:
        return Drift(
            monitor=read_monitor(response.monitor),
            images=response.images,
            reference_images=response.reference_images,
            enough=response.enough,
            significant=response.significant,
            layers=sorted(map(_layer, response.layers), key=lambda each: -each.score),
            bases=sorted(map(_basis, response.bases), key=lambda each: -each.score),
            channels=list(map(_channel, response.channels)),
            groups=[_group(each) for each in response.groups],
            classes=[ClassDrift(read_change(each.drift), each.predicted_class.name) for each in response.classes],
            confidence=read_change(response.confidence) if response.HasField("confidence") else None,
            slices=_slices(response.slices),
            concepts=[
                ConceptDrift(each.name, each.score, each.significant, each.channels, _channel(each.most_drifted))
                for each in response.concepts
            ],
            client=client,
        )


def _layer(message: messages.LayerDrift) -> LayerDrift:
    return LayerDrift(
        message.layer,
        message.score,
        message.significant_channels,
        message.dead_channels,
        message.newly_dead_channels,
        message.saturated_channels,
        message.newly_saturated_channels,
        read_change(message.sparsity),
    )


def _basis(message: messages.BasisDrift) -> BasisDrift:
    return BasisDrift(
        read_change(message.novelty), message.basis, message.layer, message.novelty_before, message.novelty_now
    )


def _channel(message: messages.ChannelDrift) -> ChannelDrift:
    return ChannelDrift(layer=message.layer, channel=message.channel, mean=message.mean, **_shown(message))


def _group(message: messages.GroupDrift) -> GroupDrift:
    return GroupDrift(
        basis=message.basis,
        group=message.group,
        dominant_images=message.dominant_images,
        outcomes=message.outcomes,
        accuracy=message.accuracy if message.outcomes else float("nan"),
        **_shown(message),
    )


def _shown(message: messages.ChannelDrift | messages.GroupDrift) -> dict[str, Any]:
    """Return what channels and groups have in common."""
    return {
        "change": read_change(message.drift),
        "label": read_label(message.label),
        "icon_file": read_icon(message.icon),
        "reference_files": list(message.reference_pictures),
        "window_files": list(message.window_pictures),
        "slices": {each.slice: each.effect for each in message.slices},
    }


def _slices(found: Sequence[messages.SliceSummary]) -> list[SliceSummary]:
    return [
        SliceSummary(each.slice, each.images, each.outcomes, each.accuracy if each.outcomes else float("nan"))
        for each in found
    ]
