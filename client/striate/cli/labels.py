"""`striate labels ...`: names of neurons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate import Label, Model, read_labels, write_labels
from striate.cli.facts import label_facts, print_json
from striate.cli.options import Json, ModelName, Server, asks_server, console, output_to
from striate.show.tables import labels_table

app = typer.Typer(help="Names of neurons.", no_args_is_help=True)


@app.command("list")
@asks_server
def list_labels(
    server: Server,
    model: ModelName = "",
    layer: Annotated[str, typer.Option("--layer", "-l", show_default="all")] = "",
    history: Annotated[bool, typer.Option("--history", help="Also what was replaced or deleted.")] = False,
    as_json: Json = False,
) -> None:
    """List the names of neurons."""
    with server.client() as client:
        found = client.labels(layer, model=model, history=history)
    if as_json:
        print_json([label_facts(label) for label in found])
        return
    console.print(labels_table(found))


@app.command("set")
@asks_server
def set_label(layer: str, channel: int, name: str, server: Server, model: ModelName = "", author: str = "") -> None:
    """Name a neuron."""
    with server.client() as client:
        client.set_label(layer, channel, name, model=model, author=author)


@app.command("delete")
@asks_server
def delete_label(layer: str, channel: int, server: Server, model: ModelName = "") -> None:
    """Take a neuron's name away."""
    with server.client() as client:
        client.delete_label(layer, channel, model=model)


@app.command("export")
@asks_server
def export_labels(
    output: Annotated[Path, typer.Argument(help="A .csv or .json file.", callback=output_to(".csv", ".json"))],
    server: Server,
    model: ModelName = "",
) -> None:
    """Write all names to a file."""
    with server.client() as client:
        write_labels(output, client.labels(model=model))


@app.command("import")
@asks_server
def import_labels(
    source: Annotated[Path, typer.Argument(help="A file as `export` writes it.", exists=True, dir_okay=False)],
    server: Server,
    model: ModelName = "",
    other_weights: Annotated[
        bool, typer.Option("--other-weights", help="Take names that were given to other weights, too.")
    ] = False,
) -> None:
    """Read names from a file; they are marked as imported. Nothing is imported unless every name can be."""
    labels = read_labels(source)
    with server.client() as client:
        served = client.model(model)
        for label in labels:
            _check(label, served, source, other_weights)
        for label in labels:
            neuron = label.direction if label.channel is None else label.channel
            assert neuron is not None
            client.set_label(
                label.layer,
                neuron,
                label.text,
                model=model,
                source="imported",
                score=label.score,
                author=label.author,
                model_version="" if other_weights else label.model_version,
            )
    console.print(f"imported {len(labels)} names")


def _check(label: Label, model: Model, source: Path, other_weights: bool) -> None:
    """Refuse what the server would refuse, before anything is sent."""
    what = f"{source.name}: {label.text!r}"
    if label.model_version not in ("", model.version) and not other_weights:
        raise ValueError(
            f"{what} names a neuron of other weights ({label.model_version[:12]}) than {model.name} has "
            f"({model.version[:12]}), whose neurons are others; --other-weights takes it all the same"
        )
    layer = next((each for each in model.layers if label.layer in (each.name, *each.aliases)), None)
    if layer is None:
        raise ValueError(f"{what} is of a layer {label.layer}, which {model.name} does not have")
    if label.channel is not None and label.channel >= layer.channels:
        raise ValueError(f"{what} is of channel {label.channel}, and {label.layer} has {layer.channels}")
