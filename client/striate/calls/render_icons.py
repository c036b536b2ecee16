"""RenderIcons: rendering a layer's icons ahead of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from striate.calls.fields import enum_value
from striate.calls.options import ModelOption, RecipeOption
from striate.calls.replies import read_neuron
from striate.results import RenderProgress
from striate.v1 import interpretability_pb2 as messages

IconObjective = Literal["channel", "neuron"]


@dataclass(frozen=True, kw_only=True)
class RenderIconsCall(ModelOption, RecipeOption):
    """Render these icons, and say how far they are."""

    layer: str
    """A path or alias."""
    channels: Sequence[int] | None = None
    """All by default."""
    objective: IconObjective = "channel"
    """What an icon excites: a "channel", as its mean over positions, or a "neuron", the channel at one position."""
    position: tuple[int, int] | None = None
    """The neuron's (row, column), the middle by default."""
    facets: int = 1
    """So many icons of each channel that are unlike each other, at most 8."""
    icons: bool = True
    """False: report progress only."""
    detach: bool = False
    """Let the server go on when the iteration ends early or the connection breaks."""

    def request(self) -> messages.RenderIconsRequest:
        return messages.RenderIconsRequest(
            model=self.model,
            layer=self.layer,
            channels=self.channels or (),
            objective=enum_value(messages.IconObjective, "ICON_OBJECTIVE", self.objective, "objective"),
            position=None
            if self.position is None
            else messages.Position(row=self.position[0], column=self.position[1]),
            recipe=self.recipe,
            facets=self.facets,
            omit_icons=not self.icons,
            detach=self.detach,
        )

    def result(self, response: messages.RenderIconsResponse) -> RenderProgress:
        return RenderProgress(
            completed=response.completed,
            total=response.total,
            progress=response.progress,
            remaining=response.remaining_seconds if response.HasField("remaining_seconds") else None,
            neurons=[read_neuron(neuron) for neuron in response.neurons],
        )
