"""Icons: for replies that show them, and rendered ahead of time by RenderIcons."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Sequence

import numpy as np
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages

from striate_service.engine import Engine
from striate_service.models.description import ModelDescription
from striate_service.rendering import IconRenderer, Rendering
from striate_service.servicers import encoding, validation
from striate_service.servicers.naming import Namer
from striate_service.techniques.recipe import Channel, Objective

# Waiting for icons ends this long before the caller's deadline, so that the reply still arrives: a fixed part for the
# reply itself, and a share for a caller with little time.
_REPLY_SECONDS, _REPLY_SHARE = 1.0, 0.1
_PROGRESS_INTERVAL = 0.5  # seconds between two messages of RenderIcons
_NO_EFFECTS = np.zeros(0, np.float32)


class IconFinder:
    """Gets icons for a reply, as far as the caller wants to wait for them."""

    def __init__(self, renderer: IconRenderer) -> None:
        self._renderer = renderer

    async def icons(
        self,
        model: ModelDescription,
        layer: str,
        objectives: Sequence[Objective],
        *,
        omit: bool,
        wait: bool,
        deadline: float,
    ) -> list[pb.Icon]:
        """Return one icon an objective. What is not ready in time is marked, and goes on being rendered."""
        if omit:
            return [pb.Icon(status=pb.ICON_STATUS_NOT_REQUESTED) for _ in objectives]
        renderings = await self._renderer.request(model, layer, objectives, urgent=wait)
        if wait:
            remaining = deadline - time.monotonic()
            timeout = None if remaining == math.inf else remaining - max(_REPLY_SECONDS, _REPLY_SHARE * remaining)
            await asyncio.wait([rendering.icon for rendering in renderings], timeout=timeout and max(0.0, timeout))
        return [icon(rendering) for rendering in renderings]


def icon(rendering: Rendering) -> pb.Icon:
    """Return an icon as it stands."""
    if not rendering.icon.done():
        return pb.Icon(status=pb.ICON_STATUS_QUEUED)
    if rendering.icon.cancelled() or rendering.icon.exception():
        return pb.Icon(status=pb.ICON_STATUS_FAILED)
    return pb.Icon(status=pb.ICON_STATUS_READY, data=rendering.icon.result())


class IconRendering:
    """Answers RenderIcons."""

    def __init__(self, engine: Engine, renderer: IconRenderer, namer: Namer) -> None:
        self._engine = engine
        self._renderer = renderer
        self._namer = namer

    async def render(self, request: messages.RenderIconsRequest) -> AsyncGenerator[messages.RenderIconsResponse, None]:
        """Yield progress until all icons are finished.

        A caller who goes away takes back what has not begun, unless it asked to `detach`.
        """
        model = validation.find_model(self._engine.models, request.model)
        layer = validation.find_spatial_layer(model, request.layer, "layer")
        channels = validation.find_channels(request.channels, [layer]) or tuple(range(layer.channels))
        channels = tuple(dict.fromkeys(channels))
        objectives = [Channel(channel) for channel in channels]
        renderings = await self._renderer.request(model, layer.path, objectives, urgent=False)
        labels = await self._namer.neurons(model, layer.path, dict.fromkeys(channels, _NO_EFFECTS), [])
        started, first_progress = time.monotonic(), sum(rendering.progress for rendering in renderings)
        unsent = dict(zip(channels, renderings, strict=True))
        try:
            while unsent:
                pending = [rendering.icon for rendering in unsent.values() if not rendering.icon.done()]
                if len(pending) == len(unsent):
                    await asyncio.wait(pending, timeout=_PROGRESS_INTERVAL, return_when=asyncio.FIRST_COMPLETED)
                finished = {channel: each for channel, each in unsent.items() if each.icon.done()}
                unsent = {channel: each for channel, each in unsent.items() if channel not in finished}
                progress = sum(rendering.progress for rendering in renderings)
                speed = (progress - first_progress) / max(time.monotonic() - started, 1e-3)
                yield messages.RenderIconsResponse(
                    model=encoding.model_ref(model),
                    layer=encoding.layer(layer),
                    completed=len(renderings) - len(unsent),
                    total=len(renderings),
                    progress=progress / len(renderings),
                    remaining_seconds=(len(renderings) - progress) / speed if speed else None,
                    neurons=[
                        messages.Neuron(
                            channel=channel,
                            label=labels[channel],
                            icon=pb.Icon(status=pb.ICON_STATUS_NOT_REQUESTED) if request.omit_icons else icon(each),
                        )
                        for channel, each in finished.items()
                    ],
                )
        finally:
            if not request.detach:
                self._renderer.release(list(unsent.values()))
