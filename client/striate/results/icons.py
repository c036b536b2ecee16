"""Icons: pictures that may still be on their way when the rest of a result is there."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image as Pillow

from striate.errors import StriateError
from striate.results.shown import Shown


@dataclass
class Icon(Shown):
    """A feature visualization: a picture that excites a neuron or group.

    It changes while it is waited for (`client.wait_for_icons`): while "queued" it gets a quick first picture, and it is
    "ready" when the finished one has replaced that.
    """

    status: str
    """ "ready", "queued": not rendered yet, "not_requested" or "failed"."""
    data: bytes = field(default=b"", repr=False)
    """A WebP file; empty unless ready, or queued with a quick first picture."""
    key: bytes = field(default=b"", repr=False)
    """By which to ask for it; empty unless queued."""

    @property
    def preview(self) -> bool:
        """Whether the picture is a quick first one, which the finished one will replace."""
        return self.status == "queued" and bool(self.data)

    @property
    def image(self) -> Pillow.Image | None:
        """The picture as far as it is; None if there is none yet."""
        return Pillow.open(io.BytesIO(self.data)) if self.data else None


@dataclass(frozen=True)
class IconProgress(Shown):
    """How far icons are that are waited for."""

    completed: int
    """Icons that are finished."""
    total: int
    progress: float
    """The share of all optimization steps that are done, 0 to 1."""
    remaining: float | None
    """The server's estimate of the time left, in seconds."""
    icons: list[Icon] = field(repr=False)
    """Those that have been finished since the last report."""
    previews: list[Icon] = field(repr=False, default_factory=list)
    """Those that have got a quick first picture since the last report: first all get one, then they are finished."""


class IconSource(Protocol):
    """A client of either kind."""

    def wait_for_icons(
        self, results: Any, *, every: bool, progress: Callable[[IconProgress], None] | None, timeout: float | None
    ) -> Any:
        """Fill in icons."""


@dataclass(frozen=True)
class Illustrated(Shown):
    """A result with icons."""

    client: IconSource | None = field(default=None, repr=False, compare=False, kw_only=True)
    """Whose result it is. None: it has been copied or unpickled, and belongs to none."""

    @property
    def icons(self) -> list[Icon]:
        """All icons of the result, the most telling first."""
        raise NotImplementedError

    @property
    def telling_icons(self) -> list[Icon]:
        """Those that are waited for unless all are asked for."""
        return self.icons

    @property
    def pending_icons(self) -> int:
        """How many icons are not rendered yet."""
        return sum(icon.status == "queued" for icon in self.icons)

    def wait_for_icons(
        self,
        *,
        every: bool = False,
        progress: Callable[[IconProgress], None] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Have missing icons rendered, fill them in, and return the result; await it if its client is awaited.

        Args:
            every: also those that tell little: see `telling_icons`.
            progress: called with each report.
            timeout: seconds after which the rest stays missing; without limit by default.
        """
        if self.client is None:
            raise StriateError("this result belongs to no client; use client.wait_for_icons(result)")
        return self.client.wait_for_icons(self, every=every, progress=progress, timeout=timeout)

    def __getstate__(self) -> dict[str, Any]:
        """Return what can be copied and pickled: a connection cannot."""
        return vars(self) | {"client": None}
