"""Neuron groups as they are shown: with icons, names, effects, and the places where they are strong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from striate_service.explain.decoding import DecodedImages
from striate_service.explain.group_pictures import Crop, GroupStyle, crops
from striate_service.explain.icons import Icon, IconFinder, IconOptions
from striate_service.explain.images import View
from striate_service.explain.labels import Label
from striate_service.explain.names import Namer
from striate_service.explain.target_names import class_names
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.scheduling.engine import Terms
from striate_service.techniques.directions import channel_shares
from striate_service.techniques.objective import Direction, Objective
from striate_service.techniques.tasks.base import Array
from striate_service.techniques.tasks.groups import GroupsResult


@dataclass(frozen=True)
class Group:
    """One of K groups, and its effects on M targets."""

    color: tuple[int, int, int]
    """sRGB, 0 to 255."""
    icon: Icon
    label: Label
    importance: float
    """The share of the activations' squared norm that it explains alone."""
    channels: Sequence[int]
    """The strongest, strongest first."""
    effects: Sequence[float] = ()
    """[M], summed over images."""
    crops: Sequence[Crop] = ()
    sobol_indices: Sequence[float] = ()
    """[M], the mean over images."""


@dataclass(frozen=True)
class GroupsAnswer:
    """K groups in N images, and their effects on M targets."""

    result: GroupsResult
    groups: Sequence[Group]
    effects: Array
    """[N, K, M]; M is 0 where nothing is explained."""
    style: GroupStyle
    pictures: Sequence[NDArray[np.uint8]] | None = None
    """What the network saw, [H, W, 3] each, as large as its input; None where that is nothing to look at."""
    model: ModelDescription | None = None
    """None where the activations come from elsewhere."""
    layer: LayerDescription | None = None
    views: Sequence[View] = ()
    """One an image."""
    sobol_indices: Array | None = None
    """[N, K, M]; None where they were not asked for."""
    basis: str = ""
    """What the groups are kept as. Empty: they are not."""
    smooth_max_pool: bool = False
    """Whether gradients passed max pools as `techniques.max_pooling` says."""


class GroupExplainer:
    """Says of groups in images what they look for, what they are called, and what they do for targets."""

    def __init__(self, icons: IconFinder, namer: Namer) -> None:
        self._icons = icons
        self._namer = namer

    async def explain(
        self,
        model: ModelDescription,
        layer: LayerDescription,
        result: GroupsResult,
        decoded: DecodedImages,
        style: GroupStyle,
        icons: IconOptions,
        terms: Terms,
    ) -> GroupsAnswer:
        """Return the groups of a result.

        Args:
            decoded: the images that the groups are in.
        """
        images, *_, components = result.spatial.shape
        effects = np.zeros((images, components, 0), np.float32)
        if result.effects is not None:
            effects = result.effects.astype(np.float32, copy=False)
        total = effects.sum(axis=0)
        classes = class_names(model, result.targets)
        labels = await self._namer.groups(model, layer.path, result.directions, total, classes)
        found = await self._icons.icons(model, layer.path, group_objectives(result.directions), icons, terms)
        groups = describe_groups(result.directions, result.importance, style.colors, found, labels)
        pictures = list(decoded.pixels) if decoded.pixels.dtype == np.uint8 else None
        return GroupsAnswer(
            result,
            [
                replace(group, effects=total[k].tolist(), crops=crops(result.spatial[..., k], decoded.views))
                for k, group in enumerate(groups)
            ],
            effects,
            style,
            pictures,
            model,
            layer,
            decoded.views,
        )


def describe_groups(
    directions: NDArray[np.float32],
    importance: NDArray[np.float32],
    colors: NDArray[np.uint8],
    icons: Sequence[Icon],
    labels: Sequence[Label],
) -> list[Group]:
    """Return groups without what they are in images.

    Args:
        directions: [K, C].
        importance: [K].
        colors: [K, 3].
        icons: one a group.
        labels: one a group.
    """
    return [
        Group(
            color=tuple(colors[k].tolist()),
            icon=icons[k],
            label=labels[k],
            importance=float(importance[k]),
            channels=list(channel_shares(directions[k])),
        )
        for k in range(len(directions))
    ]


def group_objectives(directions: NDArray[np.float32]) -> list[Objective]:
    """Return what the icons of groups show, by their directions [K, C]."""
    return [Direction(tuple(direction.tolist())) for direction in directions]
