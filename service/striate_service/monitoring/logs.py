"""The log: lines of text, or of JSON for what collects logs; one line for each request, with where its time went."""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
from datetime import datetime, timezone
from typing import Any, TextIO

from striate_service.monitoring.requests import RequestRecord, current

_requests = logging.getLogger("striate_service.requests")
_WAITING_LINES = 10_000  # a few megabytes
_ENDS_WITHIN = 1.0  # seconds that the last lines may take when the process ends
_FIELDS = "fields"
"""The attribute of a record that is a request's line."""


def configure(log_format: str, level: str, *, waits: bool = False) -> None:
    """Send this process's log to stderr.

    Args:
        log_format: "text" or "json".
        level: "debug", "info", "warning" or "error". Lines of libraries are shown from "info" on, or fewer.
        waits: whether to wait for who reads stderr. Else a thread does, and lines are dropped that it has no room for.
    """
    number = logging.getLevelName(level.upper())
    handler: logging.Handler = logging.StreamHandler() if waits else LineWriter(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    logging.basicConfig(level=max(number, logging.INFO), handlers=[handler], force=True)
    logging.getLogger("striate_service").setLevel(number)


def log_request(request: RequestRecord, code: str, seconds: float, error: str = "") -> None:
    """Write a request's line.

    Args:
        error: what its caller was told; empty: it was answered.
    """
    if not _requests.isEnabledFor(logging.INFO):
        return
    fields: dict[str, Any] = {
        "code": code,
        "seconds": round(seconds, 6),
        "model": request.model,
        "images": request.images,
        "trace": request.trace_id,
        "error": error,
    }
    given = {name: value for name, value in fields.items() if value != ""}
    stages = {stage: round(spent, 6) for stage, spent in request.seconds.items()}
    _requests.info("%s", request.method, extra={_FIELDS: given | stages})


class TextLines(logging.Formatter):
    """Lines for people: time, level, logger, message; a request's fields; whom it is about."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        line = super().formatMessage(record)
        for name, value in getattr(record, _FIELDS, {}).items():
            line += f" {name}={json.dumps(value) if name == 'error' else value}"
        if request := current():
            line += f" [{request.method} of {request.caller}, request {request.id}]"
        return line


class JsonLines(logging.Formatter):
    """An object a line: time (ISO 8601, UTC), level, logger, message; of a request its id, method, caller, fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request := current():
            line |= {"request": request.id, "method": request.method, "caller": request.caller}
        line |= getattr(record, _FIELDS, {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class LineWriter(logging.Handler):
    """Writes lines in a thread: who reads the log slowly, or has stopped to, holds up no request.

    Lines that there is no room for are dropped, and their number is told in the log itself.
    """

    def __init__(self, stream: TextIO, room: int = _WAITING_LINES) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str] = queue.Queue(room)
        self.dropped = 0
        """Since the log last told it."""
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            if self.dropped:
                line = f"{self.format(_told(self.dropped))}\n{line}"
            self._lines.put_nowait(line)
            self.dropped = 0
        except queue.Full:
            self.dropped += 1
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait a moment until everything is written."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, _ENDS_WITHIN)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass  # nobody reads it any more
            finally:
                self._lines.task_done()


def _told(dropped: int) -> logging.LogRecord:
    return logging.LogRecord(__name__, logging.WARNING, "", 0, "%d lines were dropped", (dropped,), None)
