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

from striate import Box, Class, Client, Output, Region, StriateError, Tls
from striate.calls.targets import Target
from striate.cli.messages import in_words_of

ModelName = Annotated[str, typer.Option("--model", help="A model's name.", show_default="the server's default")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Photos = Annotated[list[Path], typer.Argument(help="Image files.", exists=True, dir_okay=False)]
Photo = Annotated[Path, typer.Argument(help="An image file.", exists=True, dir_okay=False)]
LayerName = Annotated[str, typer.Option("--layer", "-l", help="A layer's path or alias.")]
LayerNames = Annotated[
    list[str], typer.Option("--layer", "-l", help="A layer's path or alias. Repeat for several.", show_default=False)
]
Classes = Annotated[int | None, typer.Option(help="Classes to give effects on.", min=0, show_default="5")]
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


def output_to(*endings: str) -> Callable[[Path | None], Path | None]:
    """Return what checks a file that a command is to write: its ending says what is written."""

    def checked(path: Path | None) -> Path | None:
        if path is not None and path.suffix.lower() not in endings:
            raise typer.BadParameter(f"{path.name} should end in {' or '.join(endings)}.")
        if path is not None and not path.parent.is_dir():
            raise typer.BadParameter(f"there is no folder {path.parent}.")
        if path is not None and path.is_dir():
            raise typer.BadParameter(f"{path} is a folder; name a file in it.")
        return path

    return checked


Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        help="Effects on this instead of classes: class:NAME, output:INDEX, region:NAME[@TOP,LEFT,BOTTOM,RIGHT], "
        "box:NAME[@TOP,LEFT,BOTTOM,RIGHT]; areas are shares, 0 to 1. Repeat for several.",
        show_default="classes",
    ),
]
PageFile = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write an interactive page, a .html.", callback=output_to(".html")),
]
"""A page that is written where it is asked for."""
PICTURES = (".png", ".jpg", ".webp")
"""Endings of the files that sheets of pictures are written to."""

console = Console(markup=False, highlight=False)
"""Where commands print what they found. Names are other people's text, and may read as markup."""
progress_console = Console(stderr=True, markup=False, highlight=False)
"""Where commands print how far they are, so that output can be piped."""

_MOST_CHANNELS = 2**20  # more than any layer has: "0-9999999999" is a slip, and would fill the memory


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
    if not server.strip():
        raise typer.BadParameter("is empty; write an address as HOST:PORT", param_hint="--server")
    if (tls_certificate is None) != (tls_key is None):
        raise typer.BadParameter("--tls-certificate and --tls-key are given together, or not at all")
    files = Tls(tls_ca, tls_certificate, tls_key)
    return Server(server, tls if files == Tls() else files, os.environ.get("STRIATE_TOKEN", "").strip())


def asks_server(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `_server` in place of its parameter `server`: they stand in one place."""
    options = inspect.signature(_server, eval_str=True).parameters
    own = inspect.signature(command, eval_str=True).parameters

    @functools.wraps(command)
    def asking(**given: Any) -> None:
        server = _server(**{name: given.pop(name) for name in options})
        try:
            command(server=server, **given)
        except StriateError as error:
            raise type(error)(in_words_of(error, own, given)) from error

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
        first, _, last = (number.strip() for number in part.partition("-"))
        if not (first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first)):
            raise typer.BadParameter(f"{text!r} are no channels; write them as 0-15,40", param_hint="--channels")
        if int(last or first) >= _MOST_CHANNELS:
            raise typer.BadParameter(f"no layer has a channel {last or first}", param_hint="--channels")
        channels += range(int(first), int(last or first) + 1)
    return channels


def read_targets(texts: list[str] | None) -> list[Target]:
    """Read "region:dog@0,0,0.5,1" and the like, as the option --target has them."""
    return [_target(text) for text in texts or ()]


def _target(text: str) -> Target:
    kind, _, value = text.partition(":")
    name, at, area = value.rpartition("@") if kind in ("region", "box") and "@" in value else (value, "", "")
    try:
        top, left, bottom, right = map(float, area.split(",")) if at else (0.0, 0.0, 1.0, 1.0)
        box = (top, left, bottom, right) if at else None
        match kind:
            case "class":
                return Class(name)
            case "output":
                return Output(int(name))
            case "region":
                return Region(name, box)
            case "box":
                return Box(name, near=box)
    except ValueError:
        pass
    raise typer.BadParameter(f"{text!r} is no target; write it as region:dog@0,0,0.5,1 or output:3")


def row_and_column(text: str) -> tuple[int, int] | None:
    """Read "3,4" as (3, 4), and nothing as None."""
    if not text:
        return None
    row, _, column = (number.strip() for number in text.partition(","))
    if not (row.isdecimal() and column.isdecimal()):
        raise typer.BadParameter(
            f"{text!r} is no position; write it as ROW,COLUMN, such as 3,4", param_hint="--position"
        )
    return int(row), int(column)
