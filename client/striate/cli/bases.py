"""`striate bases ...`: groups of neurons that are kept under names."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from striate.cli.options import DEFAULT_SERVER, Json, ModelName, Server
from striate.cli.output import console, print_json
from striate.client import Client
from striate.groups import Basis

app = typer.Typer(help="Groups of neurons that are kept under names.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A basis's name.")]


@app.command("list")
def list_bases(server: Server = DEFAULT_SERVER, model: ModelName = "", as_json: Json = False) -> None:
    """List the bases that there are."""
    with Client(server) as client:
        found = client.bases(model=model)
    if as_json:
        print_json([_facts(basis) for basis in found])
        return
    table = Table("name", "model", "layer", "groups", "images", "left out", "saved", box=None, padding=(0, 2))
    for basis in found:
        table.add_row(
            basis.name,
            f"{basis.model.name} {basis.model.version[:12]}",
            basis.layer,
            str(basis.components),
            str(basis.image_count),
            f"{basis.relative_error:.0%}",
            f"{basis.created:%Y-%m-%d %H:%M} UTC",
        )
    console.print(table)


@app.command()
def show(name: Name, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Show a basis's groups."""
    with Client(server) as client:
        basis = client.basis(name, icons=False)
    if as_json:
        print_json(_facts(basis))
        return
    console.print(f"[bold]{basis.name}[/bold]: {basis.components} groups of {basis.layer}, {basis.model.name}")
    console.print(f"  version {basis.model.version}")
    console.print(f"  found in {basis.image_count} images, of which they leave {basis.relative_error:.0%} unexplained")
    table = Table("", "group", "explains", "channels", box=None, padding=(0, 2))
    for group in basis.groups:
        channels = ", ".join(map(str, group.channels))
        table.add_row(f"[{group.color}]\u25a0[/]", group.name, f"{group.importance:.0%}", channels)
    console.print(table)


@app.command()
def delete(name: Name, server: Server = DEFAULT_SERVER) -> None:
    """Delete a basis."""
    with Client(server) as client:
        client.delete_basis(name)


def _facts(basis: Basis) -> dict[str, Any]:
    return {
        "name": basis.name,
        "model": basis.model.name,
        "version": basis.model.version,
        "layer": basis.layer,
        "components": basis.components,
        "images": basis.image_count,
        "relative_error": basis.relative_error,
        "created": f"{basis.created.isoformat()}Z",
        "groups": [
            {"name": group.name, "color": group.color, "importance": group.importance, "channels": group.channels}
            for group in basis.groups
        ],
    }
