"""`striate models | health`: what a server explains, and whether it is ready."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from striate import StriateError
from striate.cli.facts import model_facts, print_json
from striate.cli.options import Json, Server, asks_server, console
from striate.show.tables import layers_table
from striate.transport import Connection, channel_credentials, open_sync_channel

app = typer.Typer()
models_app = typer.Typer(help="List what the server explains; load and unload models.", invoke_without_command=True)


@models_app.callback()
@asks_server
def models(
    context: typer.Context,
    server: Server,
    as_json: Json = False,
    layers: bool = typer.Option(False, help="List layers."),
) -> None:
    """List what the server explains; load and unload models."""
    if context.invoked_subcommand:
        return
    with server.client() as client:
        found = client.models()
    if as_json:
        print_json([model_facts(model) for model in found])
        return
    for model in found:
        default = " (default)" if model.default else ""
        size = "x".join(map(str, model.input_size))
        console.print(f"{model.name}{default}: {model.architecture}, {size}, {len(model.classes)} classes")
        console.print(f"  version {model.version}")
        limits = ", ".join(f"{images} on {device}" for device, images in model.batch_limits.items())
        console.print(f"  images a batch: {limits}")
        if layers:
            console.print(layers_table(model))


@models_app.command()
@asks_server
def load(
    model: Annotated[str, typer.Argument(metavar="NAME=ARCHITECTURE:WEIGHTS", help="Weights: the server's file.")],
    server: Server,
    device: Annotated[list[str] | None, typer.Option(help="Repeat for several.", show_default="all")] = None,
    classes: Annotated[str, typer.Option(help="The server's file of class names, one a line.")] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="crop=224, mean=0.5, arguments.width=2"),
    ] = None,
) -> None:
    """Have the server explain one more model, where its operator allows that (allow_model_changes)."""
    name, _, rest = model.partition("=")
    architecture, _, weights = rest.rpartition(":")
    if not (name and architecture and weights):
        raise typer.BadParameter(
            f"{model!r} should be NAME=ARCHITECTURE:WEIGHTS, such as pets=resnet18:/models/pets.pth"
        )
    with server.client() as client, console.status(f"loading {name}"):
        options = _options(settings or ())
        loaded = client.load_model(name, architecture, weights, classes=classes, devices=device or (), **options)
    console.print(f"{server} explains {loaded.name}, {len(loaded.layers)} layers, version {loaded.version}")


def _options(settings: Sequence[str]) -> dict[str, Any]:
    """Return options of `load_model` from KEY=VALUE, as `striate serve` has them behind a model."""
    options: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        values = [_value(each) for each in text.split(",")]
        if key.startswith("arguments."):
            options.setdefault("arguments", {})[key.removeprefix("arguments.")] = _value(text)
        elif key in ("resize", "crop", "interpolation"):
            options.setdefault("preprocessing", {})[key] = values if len(values) > 1 else values[0]
        elif key in ("mean", "std"):
            options.setdefault("preprocessing", {})[key] = values
        elif key == "activation" and equals:
            options[key] = text
        else:
            raise typer.BadParameter(
                f"{setting!r}: the keys are resize, crop, interpolation, mean, std, activation and arguments.NAME"
            )
    return options


def _value(text: str) -> Any:
    """Return a number, true, false or null as JSON writes it; everything else is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@models_app.command()
@asks_server
def unload(name: Annotated[str, typer.Argument(help="The model's name.")], server: Server) -> None:
    """Have the server stop explaining a model, once the requests under way have been answered."""
    with server.client() as client, console.status(f"unloading {name}"):
        client.unload_model(name)
    console.print(f"{server} explains {name} no more")


@app.command()
@asks_server
def health(
    server: Server,
    timeout: Annotated[float, typer.Option(help="In seconds.", min=0.1)] = 4.0,
    proxy: Annotated[bool, typer.Option("--proxy", help="Ask through the proxy that the environment names.")] = False,
) -> None:
    """Say whether the server is ready: exit status 0 if it is, for container probes. No proxy is asked."""
    connection = Connection(server.address, token=server.token, proxy=proxy)
    with open_sync_channel(connection, channel_credentials(server.tls, None)) as channel, connection.errors():
        stub: Any = health_pb2_grpc.HealthStub(channel)  # the type stubs leave out its methods
        answer = stub.Check(health_pb2.HealthCheckRequest(), **connection.call_options(timeout))
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise StriateError(f"{server} is not ready")
    console.print(f"{server} is ready")
