"""`striate models | health`: what a server explains, and whether it is ready."""

from __future__ import annotations

from typing import Annotated, Any

import grpc
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.table import Table

from striate.cli.options import DEFAULT_SERVER, Json, Server
from striate.cli.output import console, model_facts, print_json
from striate.client import Client
from striate.errors import StriateError, from_rpc_error

app = typer.Typer()


@app.command()
def models(
    server: Server = DEFAULT_SERVER, as_json: Json = False, layers: bool = typer.Option(False, help="List layers.")
) -> None:
    """List what the server explains."""
    with Client(server) as client:
        found = client.models()
    if as_json:
        print_json([model_facts(model) for model in found])
        return
    for model in found:
        default = " (default)" if model.default else ""
        size = "x".join(map(str, model.input_size))
        console.print(f"[bold]{model.name}[/bold]{default}: {model.architecture}, {size}, {len(model.classes)} classes")
        console.print(f"  version {model.version}")
        if layers:
            table = Table("layer", "alias", "type", "shape", box=None, padding=(0, 2))
            for layer in model.layers:
                table.add_row(layer.name, " ".join(layer.aliases), layer.type, "x".join(map(str, layer.shape)))
            console.print(table)


@app.command()
def health(server: Server = DEFAULT_SERVER, timeout: Annotated[float, typer.Option(help="In seconds.")] = 4.0) -> None:
    """Say whether the server is ready: exit status 0 if it is, for container probes."""
    with grpc.insecure_channel(server) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # the type stubs leave out its methods
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError as error:
            raise from_rpc_error(error, server) from error
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise StriateError(f"{server} is not ready")
    console.print(f"{server} is ready")
