"""What files hold, read again when they change: certificates and tokens are renewed while the server runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Renewed(Generic[T]):
    """A value read from files.

    Args:
        what: the files' content, for the log: "tokens".
        files: those that `read` reads.
        read: returns the value; raises OSError or ValueError, in words for the operator, if the files hold none.

    Raises:
        OSError, ValueError: the files hold no value at the start.
    """

    def __init__(self, what: str, files: Sequence[Path], read: Callable[[], T]) -> None:
        self._what = what
        self._files = files
        self._read = read
        self._complaint = ""
        self._seen = self._state()
        self.value = read()

    def refresh(self) -> bool:
        """Read the value again if a file has changed, and return whether there is a new one.

        Where the files hold none, the former value stays, the log says so once, and the next call tries again.
        """
        state = self._state()
        if state == self._seen:
            return False
        try:
            self.value = self._read()
        except (OSError, ValueError) as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                logger.error("the former %s stay in use: %s", self._what, error)
            return False
        self._seen, self._complaint = state, ""
        logger.info("new %s are in use", self._what)
        return True

    def _state(self) -> list[tuple[int, int, int] | None]:
        """Return what changes with the files' content; None: a file cannot be seen."""
        return [_state(file) for file in self._files]


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
