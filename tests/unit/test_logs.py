"""The log holds nobody up, and its lines hold what happened."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from contextvars import Context

from striate_service.monitoring import requests
from striate_service.monitoring.logs import JsonLines, LineWriter, TextLines
from striate_service.monitoring.requests import RequestRecord


def record(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("striate_service.x", logging.ERROR, "", 0, message, arguments, None)


def test_a_log_that_nobody_reads_holds_up_nobody_and_tells_what_it_dropped() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as reader, os.fdopen(writing, "w") as stream:
        writer = LineWriter(stream, room=10)
        for number in range(20_000):  # a pipe holds 64 KiB
            writer.emit(record("line %d", number))
        dropped = writer.dropped
        assert 0 < dropped < 20_000
        seen = []
        while f"line {19_999 - dropped}" not in seen[-1:]:
            seen.append(reader.readline().strip())
        writer.emit(record("the last"))
        assert [reader.readline().strip() for _ in range(2)] == [f"{dropped} lines were dropped", "the last"]


def test_lines_in_a_request_name_it_and_who_asked() -> None:
    def lines() -> tuple[str, dict[str, object]]:
        requests.begin(RequestRecord(id="a-1", method="Factorize", caller="ann"))
        try:
            raise OSError("disk")
        except OSError:
            broken = record("it broke: %s", "a\nb")
            broken.exc_info = sys.exc_info()
        return TextLines().format(record("it broke")), json.loads(JsonLines().format(broken))

    text, line = Context().run(lines)
    assert text.endswith("ERROR striate_service.x: it broke [Factorize of ann, request a-1]")
    assert (line["request"], line["method"], line["caller"]) == ("a-1", "Factorize", "ann")
    assert line["message"] == "it broke: a\nb"
    assert "OSError: disk" in str(line["exception"])
    assert "request" not in json.loads(JsonLines().format(record("elsewhere")))


def test_the_last_lines_are_written_before_the_process_ends() -> None:
    stream = io.StringIO()
    writer = LineWriter(stream)
    for number in range(1000):
        writer.emit(record("%d", number))
    writer.flush()
    assert stream.getvalue().splitlines() == [str(number) for number in range(1000)]
