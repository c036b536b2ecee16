"""Arguments and options that several commands take, and how their text is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

Server = Annotated[str, typer.Option("--server", envvar="STRIATE_SERVER", help="The server's address.")]
ModelName = Annotated[str, typer.Option("--model", help="A model's name.", show_default="the server's default")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Photos = Annotated[list[Path], typer.Argument(help="Image files.", exists=True, dir_okay=False)]
Photo = Annotated[Path, typer.Argument(help="An image file.", exists=True, dir_okay=False)]
LayerName = Annotated[str, typer.Option("--layer", "-l", help="A layer's path or alias.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until missing icons are rendered.")]
Recipe = Annotated[
    str, typer.Option(help="How icons are made: fourier, soft or maco.", show_default="as the server is set up")
]

DEFAULT_SERVER = "localhost:50051"

console = Console()
"""Where commands print what they found."""
progress_console = Console(stderr=True)
"""Where commands print how far they are, so that output can be piped."""


def channel_ranges(text: str) -> list[int] | None:
    """Read "0-3,7" as [0, 1, 2, 3, 7], and nothing as None."""
    if not text:
        return None
    channels: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal()):
            raise typer.BadParameter(f"{text!r} are no channels; write them as 0-15,40")
        channels += range(int(first), int(last or first) + 1)
    return channels


def row_and_column(text: str) -> tuple[int, int] | None:
    """Read "3,4" as (3, 4), and nothing as None."""
    if not text:
        return None
    row, _, column = text.partition(",")
    if not (row.isdecimal() and column.isdecimal()):
        raise typer.BadParameter(f"{text!r} is no position; write it as ROW,COLUMN, such as 3,4")
    return int(row), int(column)
