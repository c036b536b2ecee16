"""Icons: for replies that show them, and rendered ahead of time by RenderIcons."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Mapping, Sequence

import numpy as np
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages

from striate_service.errors import InvalidArgument
from striate_service.explain.rendering import IconRenderer, Rendering
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.scheduling.engine import Engine
from striate_service.servicers import encoding, validation
from striate_service.servicers.naming import Namer
from striate_service.servicers.recipes import RecipeChoice
from striate_service.techniques.objective import Channel, Facets, Neuron, Objective, Signature, Single
from striate_service.techniques.recipe import Recipe

# Waiting for icons ends this long before the caller's deadline, so that the reply still arrives: a fixed part for the
# reply itself, and a share for a caller with little time.
_REPLY_SECONDS, _REPLY_SHARE = 1.0, 0.1
_PROGRESS_INTERVAL = 0.5  # seconds between two messages of RenderIcons
_MAX_FACETS = 8
_NO_ICON = pb.Icon(status=pb.ICON_STATUS_NOT_REQUESTED)
_NO_EFFECTS = np.zeros(0, np.float32)


class IconFinder:
    """Gets icons for a reply, as far as the caller wants to wait for them."""

    def __init__(self, renderer: IconRenderer, recipes: RecipeChoice) -> None:
        self._renderer = renderer
        self._recipes = recipes

    def recipe(self, asked: str, model: ModelDescription) -> Recipe:
        """Return the recipe of a request's field `recipe`. Ask before anything that costs."""
        return self._recipes.choose(asked, model)

    async def icons(
        self,
        model: ModelDescription,
        layer: str,
        objectives: Sequence[Objective],
        recipe: Recipe,
        *,
        omit: bool,
        wait: bool,
        deadline: float,
    ) -> list[pb.Icon]:
        """Return one icon an objective. What is not ready in time is marked, and goes on being rendered."""
        if omit:
            return [_NO_ICON] * len(objectives)
        renderings = await self._renderer.request(model, layer, objectives, recipe, urgent=wait)
        if wait:
            remaining = deadline - time.monotonic()
            timeout = None if remaining == math.inf else remaining - max(_REPLY_SECONDS, _REPLY_SHARE * remaining)
            await asyncio.wait([rendering.icons for rendering in renderings], timeout=timeout and max(0.0, timeout))
        return [_icons(rendering)[0] for rendering in renderings]


def _icons(rendering: Rendering) -> list[pb.Icon]:
    """Return the icon, or its facets, as they stand."""
    if not rendering.icons.done():
        return [pb.Icon(status=pb.ICON_STATUS_QUEUED)] * len(rendering.addresses)
    if rendering.icons.cancelled() or rendering.icons.exception():
        return [pb.Icon(status=pb.ICON_STATUS_FAILED)] * len(rendering.addresses)
    return [pb.Icon(status=pb.ICON_STATUS_READY, data=data) for data in rendering.icons.result()]


class IconRendering:
    """Answers RenderIcons."""

    def __init__(self, engine: Engine, renderer: IconRenderer, recipes: RecipeChoice, namer: Namer) -> None:
        self._engine = engine
        self._renderer = renderer
        self._recipes = recipes
        self._namer = namer

    async def render(self, request: messages.RenderIconsRequest) -> AsyncGenerator[messages.RenderIconsResponse, None]:
        """Yield progress until all icons are finished.

        A caller who goes away takes back what has not begun, unless it asked to `detach`.
        """
        model = validation.find_model(self._engine.models, request.model)
        layer = validation.find_spatial_layer(model, request.layer, "layer")
        channels = validation.find_channels(request.channels, [layer]) or tuple(range(layer.channels))
        channels = tuple(dict.fromkeys(channels))
        recipe = self._recipes.choose(request.recipe, model)
        facets = validation.in_range(request.facets or 1, "facets", 0, _MAX_FACETS)
        shown = _shown(request, layer, channels, self._engine.objectives)
        objectives: list[Objective] = [Facets(each, facets) for each in shown] if facets > 1 else [*shown]
        renderings = await self._renderer.request(model, layer.path, objectives, recipe, urgent=False)
        labels = await self._namer.neurons(model, layer.path, dict.fromkeys(channels, _NO_EFFECTS), [])
        started, first_progress = time.monotonic(), sum(rendering.progress for rendering in renderings)
        unsent = dict(zip(channels, renderings, strict=True))
        try:
            while unsent:
                pending = [rendering.icons for rendering in unsent.values() if not rendering.icons.done()]
                if len(pending) == len(unsent):
                    await asyncio.wait(pending, timeout=_PROGRESS_INTERVAL, return_when=asyncio.FIRST_COMPLETED)
                finished = {channel: each for channel, each in unsent.items() if each.icons.done()}
                unsent = {channel: each for channel, each in unsent.items() if channel not in finished}
                progress = sum(rendering.progress for rendering in renderings)
                speed = (progress - first_progress) / max(time.monotonic() - started, 1e-3)
                yield messages.RenderIconsResponse(
                    model=encoding.model_ref(model),
                    layer=encoding.layer(layer),
                    completed=(len(renderings) - len(unsent)) * facets,
                    total=len(renderings) * facets,
                    progress=progress / len(renderings),
                    remaining_seconds=(len(renderings) - progress) / speed if speed else None,
                    neurons=[
                        messages.Neuron(channel=channel, label=labels[channel], icon=first, other_facets=others)
                        for channel, each in finished.items()
                        for first, *others in [[_NO_ICON] if request.omit_icons else _icons(each)]
                    ],
                )
        finally:
            if not request.detach:
                self._renderer.release(list(unsent.values()))


def _shown(
    request: messages.RenderIconsRequest,
    layer: LayerDescription,
    channels: Sequence[int],
    added: Mapping[str, Signature],
) -> Sequence[Single]:
    """Return what is to be pictured: channels, their neurons at one position, or what the operator added by a name.

    Args:
        added: objectives that the operator has added, by name.
    """
    if request.objective not in messages.IconObjective.values():
        raise InvalidArgument("objective", "should be CHANNEL or NEURON of its enum.")
    if request.objective_name:
        if request.objective != messages.ICON_OBJECTIVE_UNSPECIFIED:
            raise InvalidArgument("objective", "should be left out where `objective_name` says what to picture.")
        if request.objective_name not in added:
            known = f"it should be {' or '.join(map(repr, sorted(added)))}" if added else "this server has none by name"
            raise InvalidArgument("objective_name", f"is {request.objective_name[:64]!r}; {known}.")
        signature = added[request.objective_name]
        row, column = _position(request, layer, signature.takes_position)
        return [signature.at(channel, row, column) for channel in channels]
    at_position = request.objective == messages.ICON_OBJECTIVE_NEURON
    row, column = _position(request, layer, at_position)
    return [Neuron(channel, row, column) if at_position else Channel(channel) for channel in channels]


def _position(request: messages.RenderIconsRequest, layer: LayerDescription, is_taken: bool) -> tuple[int, int]:
    """Return the position that a request names, by default the middle."""
    _, height, width = layer.shape
    if not request.HasField("position"):
        return height // 2, width // 2
    if not is_taken:
        raise InvalidArgument(
            "position", "is for objectives of one position, as ICON_OBJECTIVE_NEURON is; leave it out."
        )
    row = validation.in_range(request.position.row, "position.row", 0, height - 1, f"{layer.path} has {height} rows")
    column = validation.in_range(
        request.position.column, "position.column", 0, width - 1, f"{layer.path} has {width} columns"
    )
    return row, column
