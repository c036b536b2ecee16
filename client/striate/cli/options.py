"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
