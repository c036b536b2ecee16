"""Streams of images, as the command line shows them: how far they are, and which images could not be read."""

from __future__ import annotations

from collections.abc import Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from striate.cli.options import progress_console

_LISTED = 10  # images that could not be read, by name


def images_progress() -> Progress:
    """Return a progress bar that counts images, on the error stream."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=progress_console)


def print_skipped(skipped: Sequence[tuple[str, str]]) -> None:
    """Say which images could not be read, and why, on the error stream.

    Args:
        skipped: (name, reason).
    """
    for name, reason in skipped[:_LISTED]:
        progress_console.print(f"skipped {name}: it {reason}")
    if len(skipped) > _LISTED:
        progress_console.print(f"and {len(skipped) - _LISTED} more")
