"""Icons that callers have left to be rendered: each caller's own, so many of them, until the caller takes them back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

from striate_service.errors import TooManyIcons
from striate_service.explain.rendering.batch import Rendering
from striate_service.explain.rendering.owners import Owner, Urgency
from striate_service.explain.rendering.renderer import IconRenderer
from striate_service.monitoring.metrics import Metrics


@dataclass(frozen=True)
class _Left:
    """What one caller has left."""

    owner: Owner = field(default_factory=lambda: Owner(Urgency.DETACHED))
    renderings: set[Rendering] = field(default_factory=set)
    """Unfinished, at least one."""


class DetachedIcons:
    def __init__(self, renderer: IconRenderer, metrics: Metrics, most: int, most_per_caller: int) -> None:
        """Take what renders.

        Args:
            most: icons that may be unfinished though nobody needs to wait for them.
            most_per_caller: how many of these may be one caller's.
        """
        self._renderer = renderer
        self._metrics = metrics
        self._most = most
        self._most_per_caller = most_per_caller
        self._left: dict[str, _Left] = {}
        """By caller."""

    def leave(self, renderings: Sequence[Rendering], caller: str) -> None:
        """Let renderings go on when the caller has gone.

        Raises:
            TooManyIcons: too many would.
        """
        left = self._left.get(caller) or _Left()
        new = [each for each in renderings if not each.icons.done() and each not in left.renderings]
        if _icons({*self._all(), *new}) > self._most:
            raise TooManyIcons(
                f"this server renders at most {self._most} icons that nobody waits for (its setting "
                "max_detached_icons); wait for these, or ask for fewer"
            )
        if _icons({*left.renderings, *new}) > self._most_per_caller:
            raise TooManyIcons(
                f"{caller} has left {_icons(left.renderings)} icons to be rendered, and one caller may leave at most "
                f"{self._most_per_caller} (the server's setting max_detached_icons_per_caller); wait for these, cancel "
                "them, or ask for fewer"
            )
        if not new:
            return
        self._left[caller] = left
        self._renderer.own(new, left.owner)
        for each in new:
            left.renderings.add(each)
            each.icons.add_done_callback(partial(self._ended, caller, each))
        self._count()

    def cancel(self, caller: str, version: str = "", layer: str = "") -> int:
        """Take back what a caller has left, and return how many icons that were.

        Args:
            version: of the model; empty: of all models.
            layer: its path; empty: of all layers.
        """
        left = self._left.get(caller)
        if left is None:
            return 0
        chosen = [
            each
            for each in left.renderings
            if version in ("", each.subject.version) and layer in ("", each.subject.layer)
        ]
        self._forget(caller, chosen)
        self._renderer.release(chosen, left.owner)
        return _icons(chosen)

    def _ended(self, caller: str, rendering: Rendering, _: object) -> None:
        self._forget(caller, [rendering])

    def _forget(self, caller: str, renderings: Collection[Rendering]) -> None:
        if left := self._left.get(caller):
            left.renderings.difference_update(renderings)
            if not left.renderings:
                del self._left[caller]  # callers come and go
            self._count()

    def _all(self) -> set[Rendering]:
        return set[Rendering]().union(*(left.renderings for left in self._left.values()))

    def _count(self) -> None:
        self._metrics.icons_detached.set(_icons(self._all()))


def _icons(renderings: Collection[Rendering]) -> int:
    """Count icons, facets one by one."""
    return sum(len(each.addresses) for each in renderings)
