"""Who wants an icon, and how urgently. An icon that nobody wants any more is not rendered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Urgency(IntEnum):
    """Who goes first."""

    AWAITED = 0
    """A caller waits for the icons themselves."""
    AHEAD = 1
    """A caller watches them being rendered before they are needed."""
    DETACHED = 2
    """Whoever asked has left, and said that it wants them all the same."""
    IDLE = 3
    """The server's own: nobody has asked."""


@dataclass(eq=False)
class Owner:
    """A call that waits for icons, or what takes its place when it has gone."""

    urgency: Urgency
    caller: str = ""
    """On whose account; empty: nobody's, and without a quota."""
    previews: bool = False
    """Whether it shows a quick first picture of each icon to somebody."""
