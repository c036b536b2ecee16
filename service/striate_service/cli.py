"""`striate serve`: found by the client's command line, which knows nothing of the server otherwise."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from striate_service import config, event_loop
from striate_service.server import serve as serving
from striate_service.workers.supervision import StartError


def serve(
    config_file: Annotated[
        Path | None, typer.Option("--config", help="A TOML file of settings.", envvar="STRIATE_CONFIG")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=ARCHITECTURE:WEIGHTS, or `parts`, the embedded one. Repeat for several.", show_default="parts"
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Where to listen.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="0: a free one.", show_default="50051")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="HTTP port of /metrics. 0: a free one, -1: none.", show_default="9464")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Where icons, labels and bases are kept.", show_default="the user's cache")
    ] = None,
    devices: Annotated[
        str | None, typer.Option(help="Such as cuda:0,cuda:1 or cpu,cpu: a worker each.", show_default="auto")
    ] = None,
) -> None:
    """Start the server. Every option is also a setting in the file and, as STRIATE_..., in the environment."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    given = {
        "models": model,
        "host": host,
        "port": port,
        "metrics_port": metrics_port,
        "home": home,
        "devices": devices if devices in (None, "auto") else tuple(devices.split(",")),
    }
    try:
        settings = config.load(config_file, **{name: value for name, value in given.items() if value is not None})
    except FileNotFoundError as error:
        raise typer.BadParameter(str(error)) from error
    except ValidationError as error:
        raise typer.BadParameter(_plainly(error)) from error
    try:
        event_loop.run(serving(settings))
    except (StartError, OSError) as error:
        typer.echo(f"striate serve: {error}", err=True)
        raise typer.Exit(1) from error


def _plainly(error: ValidationError) -> str:
    """Each problem on a line: the setting, and what is wrong with it."""
    return "\n".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors()
    )
