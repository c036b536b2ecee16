"""`striate serve` and `striate tune`: the client's command line finds these commands by their entry points."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from rich.console import Console
from rich.table import Table

from striate_service import config, event_loop
from striate_service.backends.local.backend import tune as tuning
from striate_service.backends.protocol import StartError
from striate_service.monitoring import logs
from striate_service.server import serve as serving

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="A TOML file of settings.", envvar="STRIATE_CONFIG", exists=True, dir_okay=False),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="NAME=ARCHITECTURE:WEIGHTS, or an embedded one, `parts` or `parts_vit`. Repeat for several.",
        show_default="parts",
    ),
]
Home = Annotated[
    Path | None, typer.Option(help="Where icons, labels and bases are kept.", show_default="the user's cache")
]
Devices = Annotated[
    str | None, typer.Option(help="Such as cuda:0,cuda:1 or cpu,cpu: a worker each.", show_default="auto")
]


def serve(
    config_file: ConfigFile = None,
    models: Models = None,
    host: Annotated[str | None, typer.Option(help="Where to listen.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="0: a free one.", show_default="50051")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="HTTP port of /metrics. 0: a free one, -1: none.", show_default="9464")
    ] = None,
    home: Home = None,
    devices: Devices = None,
) -> None:
    """Start the server. Every option is also a setting in the file and, as STRIATE_..., in the environment."""
    settings = _settings(
        config_file, models=models, host=host, port=port, metrics_port=metrics_port, home=home, devices=devices
    )
    try:
        event_loop.run(serving(settings))
    except (StartError, OSError) as error:
        typer.echo(f"striate serve: {error}", err=True)
        raise typer.Exit(1) from error


def tune(
    config_file: ConfigFile = None,
    models: Models = None,
    home: Home = None,
    devices: Devices = None,
) -> None:
    """Measure how many images a forward pass should take, and save it for `striate serve` with the same options.

    A server measures when it first starts with a model on a device. This command measures again, for instance after a
    first start on a busy machine, and exports and compiles what is not cached yet.
    """
    settings = _settings(config_file, models=models, home=home, devices=devices)
    try:
        measured = event_loop.run(tuning(settings))
    except (StartError, OSError) as error:
        typer.echo(f"striate tune: {error}", err=True)
        raise typer.Exit(1) from error
    table = Table()
    for heading in ("model", "device", "engine"):
        table.add_column(heading)
    for heading in ("images a batch", "images/s"):
        table.add_column(heading, justify="right")
    for worker, model, limit in measured:
        where = f"{worker.device.name} ({worker.hardware})"
        table.add_row(model, where, worker.engines[model], str(limit.images), f"{limit.images_per_second:.1f}")
    Console().print(table)
    if settings.max_batch_size != "auto":
        typer.echo(f"Servers with these settings take {settings.max_batch_size} all the same: max_batch_size says so.")


def _settings(config_file: Path | None, *, devices: str | None, **flags: object) -> config.Settings:
    """Configure logging, and return the settings from the given flags, the environment and the file."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    given = flags | {"devices": devices if devices in (None, "auto") else tuple(devices.split(","))}
    try:
        settings = config.load(config_file, **{name: value for name, value in given.items() if value is not None})
    except FileNotFoundError as error:
        raise typer.BadParameter(str(error)) from error
    except ValidationError as error:  # which is a ValueError
        raise typer.BadParameter(_plainly(error, given)) from error
    except ValueError as error:
        raise typer.BadParameter(f"{config_file} is no TOML that can be read: {error}") from error
    logs.configure(settings.log_format, settings.log_level)
    return settings


def _plainly(error: ValidationError, flags: Mapping[str, object]) -> str:
    """Return one line per problem: the flag or setting, and what is wrong with it."""

    def place(problem: ErrorDetails) -> str:
        first, *rest = map(str, problem["loc"]) if problem["loc"] else ("",)
        if flags.get(first) is None:
            return ".".join((first, *rest))
        return "--model" if first == "models" else f"--{first.replace('_', '-')}"

    return "\n".join(
        ": ".join(filter(None, (place(problem), problem["msg"].removeprefix("Value error, "))))
        for problem in error.errors()  # what is wrong with several settings together has no place
    )
