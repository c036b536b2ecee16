"""Names of neurons in files: CSV, for people and spreadsheets, or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from striate.results.neurons import Label

_COLUMNS = ("layer", "channel", "direction", "text", "source", "score", "author", "created", "model_version")
_NEEDED = ("layer", "text")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""What a spreadsheet would take for a formula, such as =HYPERLINK(...), with any apostrophes before it. In CSV it gets
one apostrophe more, so that spreadsheets show it as text, and loses it when the file is read."""


def write_labels(path: str | Path, labels: Iterable[Label]) -> None:
    """Write names to a file: JSON if its name ends in .json, else CSV."""
    rows = [_row(label) for label in labels]
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        if Path(path).suffix.lower() == ".json":
            json.dump(rows, file, indent=2, ensure_ascii=False)
            return
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        for row in rows:
            cells = row | {"direction": "" if row["direction"] is None else json.dumps(row["direction"])}
            writer.writerow({name: _as_text(cell) if isinstance(cell, str) else cell for name, cell in cells.items()})


def read_labels(path: str | Path) -> list[Label]:
    """Read names from a file as `write_labels` writes it; only layer, text, and a channel or direction are required.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is neither CSV nor JSON, or a row is wrong. Says which row, and what would be right.
    """
    path = Path(path)
    return [_label(row, f"{path.name}, {place}") for place, row in _rows(path)]


def _rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return a file's rows, each with its place in the file."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is no text in UTF-8; save it as UTF-8") from error
    if path.suffix.lower() == ".json":
        try:
            rows = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path.name} is no JSON: {error}") from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{path.name} should hold a list of objects, such as {_EXAMPLE}")
        return [(f"entry {number}", row) for number, row in enumerate(rows, 1)]
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        missing = [column for column in _NEEDED if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(
                f"{path.name} has no column {' and no column '.join(missing)}; its first line names columns"
            )
        return [
            (
                f"line {reader.line_num}",
                {name: cell[1:] if isinstance(cell, str) and _is_marked(cell) else cell for name, cell in row.items()},
            )
            for row in reader
        ]
    except csv.Error as error:
        raise ValueError(f"{path.name}, line {reader.line_num}, is no CSV: {error}") from error


def _as_text(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _is_marked(cell: str) -> bool:
    return cell.startswith("'") and _FORMULA.match(cell) is not None


_EXAMPLE = '{"layer": "mixed4d", "channel": 12, "text": "floppy ear"}'


def _label(row: dict[str, Any], where: str) -> Label:
    given = {key: value for key, value in row.items() if value not in (None, "")}
    for key in _NEEDED:
        if not isinstance(given.get(key), str):
            raise ValueError(f"{where}: {key} should be a text, and is {given.get(key)!r}")
    if ("channel" in given) == ("direction" in given):
        raise ValueError(f"{where}: give a channel or a direction, and not both")
    return Label(
        text=given["text"],
        source="imported",
        score=_score(given["score"], where) if "score" in given else None,
        author=str(given.get("author", "")),
        layer=given["layer"],
        channel=_channel(given["channel"], where) if "channel" in given else None,
        direction=_direction(given["direction"], where) if "direction" in given else None,
        model_version=str(given.get("model_version", "")),
    )


def _channel(value: Any, where: str) -> int:
    if isinstance(value, bool) or not str(value).strip().isdecimal():
        raise ValueError(f"{where}: channel is {value!r}; it should be a number from 0")
    return int(value)


def _score(value: Any, where: str) -> float:
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not 0 <= score <= 1:  # NaN neither
        raise ValueError(f"{where}: score is {value!r}; it should be a number from 0 to 1, or empty")
    return score


def _direction(value: Any, where: str) -> tuple[float, ...]:
    try:
        numbers = np.asarray(json.loads(value) if isinstance(value, str) else value, np.float32)
    except (TypeError, ValueError):
        numbers = np.empty(0, np.float32)
    if numbers.ndim != 1 or not numbers.size or not np.isfinite(numbers).all():
        raise ValueError(f"{where}: direction should be a list of numbers, one a channel")
    return tuple(numbers.tolist())


def _row(label: Label) -> dict[str, Any]:
    return {
        "layer": label.layer,
        "channel": label.channel,
        "direction": None if label.direction is None else list(label.direction),
        "text": label.text,
        "source": label.source,
        "score": label.score,
        "author": label.author,
        "created": label.created.isoformat() if label.created else None,
        "model_version": label.model_version,
    }
