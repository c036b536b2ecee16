"""Pages that are there at once, and are completed while their icons are rendered."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path

import typer
from rich.progress import BarColumn, Progress, TextColumn

from striate import Client, Factorization, FactorizedLayers, SemanticDictionary
from striate.cli.options import progress_console
from striate.results.icons import Icon
from striate.show import page

Result = SemanticDictionary | Factorization | FactorizedLayers

_NEURONS = 24  # that a page pictures at least, unless all are asked for: whole positions, so they become about 30
_WRITE_AGAIN = 5.0  # seconds; a page of hundreds of icons takes a part of a second to write
_STOPPED = 130  # the exit status of what Ctrl-C has ended
_MINUTE, _HOUR = 60, 3600
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}", markup=False))


def write_page(
    client: Client,
    title: str,
    results: Iterable[Result],
    output: Path,
    *,
    wait: bool,
    every: bool = False,
    introduction: Sequence[str] = (),
) -> None:
    """Write a page, and complete it while its icons are rendered. Ctrl-C leaves it whole, as it is by then.

    Args:
        results: each is on the page as soon as it is there.
        every: icons of all neurons, also of those that tell little.
        introduction: paragraphs that the page opens with.
    """
    written = _Page(title, output, every, introduction)
    stopped = False
    try:
        for result in results:
            written.sections.append(result)
            written.write(under_way=True)
        progress_console.print(f"wrote {output}")
        if wait:
            _complete(client, written)
    except KeyboardInterrupt:
        stopped = True
    if written.sections:
        written.write()
    if missing := len(written.missing):
        command = written.command
        progress_console.print(f"{missing} icons are missing; this completes the page: {command}", soft_wrap=True)
    if stopped:
        if not written.sections:
            progress_console.print("stopped before there was anything to write")
        raise typer.Exit(_STOPPED)


def _complete(client: Client, written: _Page) -> None:
    """Have the missing icons rendered, and write the page again now and then."""
    missing = written.missing
    if not missing:
        return
    last = time.monotonic()
    with (
        Progress(*_COLUMNS, console=progress_console, disable=not progress_console.is_terminal) as bar,
        closing(client.watch_icons(missing)) as updates,  # whose end makes the server forget what has not begun
    ):
        task = bar.add_task("icons", total=None, text="")
        for update in updates:
            text = f"{update.completed} of {update.total}{about(update.remaining)}"
            bar.update(task, completed=update.progress * update.total, total=update.total, text=text)
            if time.monotonic() - last > _WRITE_AGAIN:
                written.write(under_way=True)
                last = time.monotonic()
                if bar.disable:  # a file or another program reads along
                    progress_console.print(f"icons: {text}")


@dataclass
class _Page:
    title: str
    output: Path
    every: bool
    introduction: Sequence[str]
    sections: list[Result] = field(default_factory=list)

    def write(self, *, under_way: bool = False) -> None:
        """Write the page as it is by now.

        Args:
            under_way: it will be written again.
        """
        missing = len(self.missing)
        page(
            self.title,
            self.sections,
            self.output,
            completed_by=self.command if missing or self.every else f"{self.command} --all",
            being_rendered=missing if under_way else 0,
            introduction=self.introduction,
        )

    @property
    def missing(self) -> list[Icon]:
        """The icons that it waits for: those of groups, then those of neurons, of all its dictionaries in turn."""
        dictionaries = [each for each in self.sections if isinstance(each, SemanticDictionary)]
        groups = [each.icons for each in self.sections if not isinstance(each, SemanticDictionary)]
        share = _NEURONS // max(1, len(dictionaries))
        neurons = [each.icons if self.every else each.most_telling_icons(share) for each in dictionaries]
        in_turn = (icon for icons in zip_longest(*neurons) for icon in icons if icon)
        wanted = {id(icon): icon for icon in chain(*groups, in_turn)}  # flows and their layers share icons
        return [icon for icon in wanted.values() if icon.status == "queued"]

    @property
    def command(self) -> str:
        """What writes it."""
        return shlex.join(["striate", *sys.argv[1:]])


def about(seconds: float | None) -> str:
    """Say how long something takes, as precisely as an estimate is."""
    if seconds is None:
        return ""
    if seconds < 2 * _MINUTE:
        return f", about {max(1, round(seconds))} s"
    if seconds < 2 * _HOUR:
        return f", about {round(seconds / _MINUTE)} min"
    return f", about {round(seconds / _HOUR)} h"
