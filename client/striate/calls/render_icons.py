"""RenderIcons: rendering a layer's icons ahead of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from striate.calls.options import ModelOption, RecipeOption
from striate.calls.replies import read_neuron
from striate.results.neurons import RenderProgress
from striate.v1 import interpretability_pb2 as messages

_OBJECTIVES = {"channel": messages.ICON_OBJECTIVE_CHANNEL, "neuron": messages.ICON_OBJECTIVE_NEURON}


@dataclass(frozen=True, kw_only=True)
class RenderIconsCall(ModelOption, RecipeOption):
    """Render these icons, and say how far they are."""

    layer: str
    """A path or alias."""
    channels: Sequence[int] | None = None
    """All by default."""
    objective: str = "channel"
    """What an icon excites: a "channel", as its mean over positions; a "neuron", the channel at one position; or what
    the server's operator has added by this name."""
    position: tuple[int, int] | None = None
    """The (row, column) of an objective that is of one, the middle by default."""
    facets: int = 1
    """So many icons of each channel that are unlike each other, at most 8."""
    icons: bool = True
    """False: report progress only."""
    detach: bool = False
    """Let the server go on when the iteration ends early or the connection breaks, until `cancel_icons`."""

    def request(self) -> messages.RenderIconsRequest:
        known = _OBJECTIVES.get(self.objective)
        return messages.RenderIconsRequest(
            model=self.model,
            layer=self.layer,
            channels=self.channels or (),
            objective=known,
            objective_name="" if known else self.objective,
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
