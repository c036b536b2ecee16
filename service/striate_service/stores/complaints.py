"""What is told to the log once, though many requests meet it: a damaged file."""

from __future__ import annotations

import logging
from collections import OrderedDict
from pathlib import Path

_REMEMBERED = 1024  # files


class Complaints:
    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._told: OrderedDict[tuple[Path, int], None] = OrderedDict()
        """Files, and when they were modified: one that is damaged anew is told anew."""

    def tell(self, file: Path, message: str) -> None:
        """Log an error of a file, unless it has been told."""
        try:
            key = (file, file.stat().st_mtime_ns)
        except OSError:
            key = (file, 0)
        if key in self._told:
            return
        self._told[key] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        self._logger.error("%s", message)
