"""Pages that are there at once, and are completed while their icons are rendered."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import typer
from rich.progress import BarColumn, Progress, TextColumn

from striate import Client, Factorization, FactorizedLayers, IconProgress, SemanticDictionary
from striate.cli.options import progress_console
from striate.show import page
from striate.show.html import count_icons

_WRITE_AGAIN = 10.0  # seconds; a page of hundreds of icons takes a part of a second to write
_STOPPED = 130  # the exit status of what Ctrl-C has ended
_MINUTE, _HOUR = 60, 3600
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}", markup=False))


def write_page(
    client: Client,
    title: str,
    results: Sequence[SemanticDictionary | Factorization | FactorizedLayers],
    output: Path,
    *,
    wait: bool,
    every: bool = False,
    introduction: Sequence[str] = (),
) -> None:
    """Write a page, and complete it while its icons are rendered. Ctrl-C leaves it whole, as it is by then.

    Args:
        every: icons of all neurons, also of those that tell little.
        introduction: paragraphs that the page opens with.
    """
    command = shlex.join(["striate", *sys.argv[1:]])

    def write() -> int:
        """Return how many of the icons are missing that are waited for."""
        missing = len({id(icon) for each in results for icon in each.telling_icons if icon.status == "queued"})
        completed_by = command if missing or every else f"{command} --all"
        page(title, results, output, completed_by=completed_by, introduction=introduction)
        return count_icons(results)[0] if every else missing

    stopped = False
    try:
        missing = write()
        progress_console.print(f"wrote {output}")
        if missing and wait:
            with Progress(*_COLUMNS, console=progress_console) as bar:
                client.wait_for_icons(list(results), every=every, progress=_shown(bar, write))
    except KeyboardInterrupt:
        stopped = True
    missing = write()
    if missing:
        progress_console.print(f"{missing} icons are missing; this completes the page: {command}", soft_wrap=True)
    if stopped:
        raise typer.Exit(_STOPPED)


def _shown(bar: Progress, write: Callable[[], int]) -> Callable[[IconProgress], None]:
    """Return what shows progress as "78 of 340, about 2 min", and now and then writes the page again."""
    task, written = bar.add_task("icons", total=None, text=""), time.monotonic()

    def show(progress: IconProgress) -> None:
        nonlocal written
        text = f"{progress.completed} of {progress.total}{about(progress.remaining)}"
        bar.update(task, completed=progress.progress * progress.total, total=progress.total, text=text)
        if time.monotonic() - written > _WRITE_AGAIN:
            write()
            written = time.monotonic()

    return show


def about(seconds: float | None) -> str:
    """Say how long something takes, as precisely as an estimate is."""
    if seconds is None:
        return ""
    if seconds < 2 * _MINUTE:
        return f", about {max(1, round(seconds))} s"
    if seconds < 2 * _HOUR:
        return f", about {round(seconds / _MINUTE)} min"
    return f", about {round(seconds / _HOUR)} h"
