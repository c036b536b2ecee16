"""`striate labels ...`: names of neurons."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from striate.cli.options import DEFAULT_SERVER, Json, ModelName, Server
from striate.cli.output import console, print_json
from striate.client import Client

app = typer.Typer(help="Names of neurons.", no_args_is_help=True)


@app.command("list")
def list_labels(
    server: Server = DEFAULT_SERVER,
    model: ModelName = "",
    layer: Annotated[str, typer.Option("--layer", "-l", show_default="all")] = "",
    as_json: Json = False,
) -> None:
    """List the names of neurons."""
    with Client(server) as client:
        found = client.labels(layer, model=model)
    if as_json:
        print_json([vars(label) for label in found])
        return
    table = Table("layer", "channel", "name", "source", "score", "author", box=None, padding=(0, 2))
    for label in found:
        score = "" if label.score is None else f"{label.score:.2f}"
        table.add_row(label.layer, str(label.channel), label.text, label.source, score, label.author)
    console.print(table)


@app.command("set")
def set_label(
    layer: str, channel: int, name: str, server: Server = DEFAULT_SERVER, model: ModelName = "", author: str = ""
) -> None:
    """Name a neuron."""
    with Client(server) as client:
        client.set_label(layer, channel, name, model=model, author=author)


@app.command("delete")
def delete_label(layer: str, channel: int, server: Server = DEFAULT_SERVER, model: ModelName = "") -> None:
    """Take a neuron's name away."""
    with Client(server) as client:
        client.delete_label(layer, channel, model=model)


@app.command("export")
def export_labels(
    output: Annotated[Path, typer.Argument(help="A .csv or .json file.")],
    server: Server = DEFAULT_SERVER,
    model: ModelName = "",
) -> None:
    """Write all names to a file."""
    with Client(server) as client:
        rows = [vars(label) for label in client.labels(model=model)]
    with output.open("w", newline="", encoding="utf-8") as file:
        if output.suffix == ".json":
            json.dump(rows, file, indent=2, ensure_ascii=False)
        else:
            writer = csv.DictWriter(file, ["layer", "channel", "text", "source", "score", "author"])
            writer.writeheader()
            writer.writerows(rows)


@app.command("import")
def import_labels(
    source: Annotated[Path, typer.Argument(help="A file that `export` wrote.", exists=True, dir_okay=False)],
    server: Server = DEFAULT_SERVER,
    model: ModelName = "",
) -> None:
    """Read names from a file; they are marked as imported."""
    with source.open(newline="", encoding="utf-8") as file:
        rows = json.load(file) if source.suffix == ".json" else list(csv.DictReader(file))
    with Client(server) as client:
        for row in rows:
            score = float(row["score"]) if row.get("score") not in (None, "") else None
            client.set_label(
                row["layer"],
                int(row["channel"]),
                row["text"],
                model=model,
                source="imported",
                score=score,
                author=row.get("author") or "",
            )
    console.print(f"imported {len(rows)} names")
