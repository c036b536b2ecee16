"""Arguments and options that several commands take, and how their text is read."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from striate import Client, Tls

ModelName = Annotated[str, typer.Option("--model", help="A model's name.", show_default="the server's default")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Photos = Annotated[list[Path], typer.Argument(help="Image files.", exists=True, dir_okay=False)]
Photo = Annotated[Path, typer.Argument(help="An image file.", exists=True, dir_okay=False)]
LayerName = Annotated[str, typer.Option("--layer", "-l", help="A layer's path or alias.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Complete the page as its icons are rendered.")]
Every = Annotated[
    bool, typer.Option("--all", help="Icons of all neurons, not only of those at the strongest positions.")
]
SmoothMaxPool = Annotated[
    bool,
    typer.Option(
        "--smooth-max-pool/--max-pool-gradient",
        help="Share effects out among all that is active in a max pool's window, or give all to the largest.",
    ),
]
Recipe = Annotated[
    str, typer.Option(help="How icons are made: fourier, soft or maco.", show_default="as the server is set up")
]

console = Console()
"""Where commands print what they found."""
progress_console = Console(stderr=True)
"""Where commands print how far they are, so that output can be piped."""


@dataclass(frozen=True)
class Server:
    """Which server a command asks, and how it is reached."""

    address: str
    tls: bool | Tls
    token: str

    def client(self) -> Client:
        return Client(self.address, tls=self.tls, token=self.token)

    def __str__(self) -> str:
        return self.address


def _server(
    server: Annotated[
        str, typer.Option(envvar="STRIATE_SERVER", help="The server's address. STRIATE_TOKEN: the token it asks for.")
    ] = "localhost:50051",
    tls: Annotated[bool, typer.Option("--tls", envvar="STRIATE_TLS", help="Encrypt.")] = False,
    tls_ca: Annotated[
        Path | None, typer.Option(envvar="STRIATE_TLS_CA", help="Who signed the server's certificate.")
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(envvar="STRIATE_TLS_CERTIFICATE", help="Your own, where the server asks for it.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(envvar="STRIATE_TLS_KEY", help="Its key.")] = None,
) -> Server:
    """Return the server of the options; each of those for TLS implies `--tls`."""
    files = Tls(tls_ca, tls_certificate, tls_key)
    return Server(server, tls if files == Tls() else files, os.environ.get("STRIATE_TOKEN", "").strip())


def asks_server(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `_server` in place of its parameter `server`: they stand in one place."""
    options = inspect.signature(_server, eval_str=True).parameters
    own = inspect.signature(command, eval_str=True).parameters

    @functools.wraps(command)
    def asking(**given: Any) -> None:
        server = _server(**{name: given.pop(name) for name in options})
        command(server=server, **given)

    parameters = {name: parameter for name, parameter in own.items() if name != "server"} | dict(options)
    asking.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what Typer reads
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters.values()]
    )
    return asking


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
