"""The command line. Exit status 0: done; 1: the server refused or failed, and one line says why; 2: wrong usage."""

from __future__ import annotations

import csv
import json
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any

import grpc
import numpy as np
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image as Pillow
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from striate.client import Client
from striate.errors import NotFound, StriateError, from_rpc_error
from striate.html import page
from striate.results import Factorization, Model, Neuron, SemanticDictionary

app = typer.Typer(
    help="See what the layers of a vision network respond to.", no_args_is_help=True, pretty_exceptions_enable=False
)
labels_app = typer.Typer(help="Names of neurons.", no_args_is_help=True)
app.add_typer(labels_app, name="labels")
console = Console()

Server = Annotated[str, typer.Option("--server", envvar="STRIATE_SERVER", help="The server's address.")]
ModelName = Annotated[str, typer.Option("--model", help="A model's name.", show_default="the server's default")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Photos = Annotated[list[Path], typer.Argument(help="Image files.", exists=True, dir_okay=False)]
Photo = Annotated[Path, typer.Argument(help="An image file.", exists=True, dir_okay=False)]
LayerName = Annotated[str, typer.Option("--layer", "-l", help="A layer's path or alias.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until missing icons are rendered.")]

DEFAULT_SERVER = "localhost:50051"


@app.command()
def models(
    server: Server = DEFAULT_SERVER, as_json: Json = False, layers: bool = typer.Option(False, help="List layers.")
) -> None:
    """List what the server explains."""
    with Client(server) as client:
        found = client.models()
    if as_json:
        _print_json([_model_facts(model) for model in found])
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


@app.command()
def activations(
    photos: Photos,
    layers: Annotated[list[str], typer.Option("--layer", "-l", help="A layer's path or alias. Repeat for several.")],
    server: Server = DEFAULT_SERVER,
    model: ModelName = "",
    reduce: Annotated[str, typer.Option(help="none, mean or max over positions.")] = "none",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write an .npz file.")] = None,
    as_json: Json = False,
) -> None:
    """Say what layers compute and what the model predicts."""
    with Client(server) as client:
        found = client.activations(photos, layers, model=model, reduce=reduce)  # type: ignore[arg-type]
    if output:
        np.savez(output, allow_pickle=False, **found)
    if as_json:
        shapes = {name: list(array.shape) for name, array in found.items()}
        _print_json({"predictions": found.predictions, "shapes": shapes})
        return
    for photo, predictions in zip(photos, found.predictions, strict=True):
        console.print(f"[bold]{photo.name}[/bold]: {_said(predictions)}")
    for name, array in found.items():
        console.print(f"{name}: {array.dtype} {list(array.shape)}, {array.min():.3g} to {array.max():.3g}")


@app.command()
def dictionary(
    photo: Photo,
    layer: LayerName,
    server: Server = DEFAULT_SERVER,
    model: ModelName = "",
    neurons: Annotated[int, typer.Option(help="Per position.")] = 6,
    classes: Annotated[int, typer.Option(help="Classes to give effects on.")] = 5,
    wait: Wait = True,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write an interactive page.")] = None,
    as_json: Json = False,
) -> None:
    """Say what the positions of a layer mean."""
    with Client(server) as client, console.status("asking, and rendering what icons are missing"):
        found = client.semantic_dictionary(
            photo, layer, model=model, neurons=neurons, classes=classes, wait_for_icons=wait
        )
    if output:
        found.to_html(output)
    if as_json:
        _print_json(
            [
                {"row": row, "column": column, "neurons": [_neuron_facts(neuron) for neuron in found.at(row, column)]}
                for row, column in found.positions.tolist()
            ]
        )
        return
    console.print(f"{photo.name}: {_said(found.predictions)}")
    console.print(_strongest_positions(found))


@app.command()
def factorize(
    photos: Photos,
    layer: LayerName,
    server: Server = DEFAULT_SERVER,
    model: ModelName = "",
    components: Annotated[int, typer.Option("--components", "-k", help="How many groups.")] = 6,
    classes: Annotated[int, typer.Option(help="Classes to give effects on.")] = 5,
    wait: Wait = True,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write an interactive page, or a .png.")] = None,
    as_json: Json = False,
) -> None:
    """Find groups of neurons that are active together."""
    with Client(server) as client, console.status("asking, and rendering what icons are missing"):
        found = client.factorize(
            photos, layer, model=model, components=components, classes=classes, wait_for_icons=wait
        )
    if output and output.suffix == ".png":
        found.overlay(0).save(output)
    elif output:
        found.to_html(output)
    if as_json:
        _print_json(
            {
                "relative_error": found.relative_error,
                "groups": [
                    {"name": group.name, "color": group.color, "importance": group.importance, "effects": group.effects}
                    for group in found.groups
                ],
            }
        )
        return
    console.print(groups_table(found))
    console.print(f"The groups leave {found.relative_error:.0%} of the activations' norm unexplained.")


@app.command()
def render(
    layer: LayerName,
    server: Server = DEFAULT_SERVER,
    model: ModelName = "",
    channels: Annotated[str, typer.Option(help="Such as 0-15,40.", show_default="all")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a contact sheet.")] = None,
) -> None:
    """Render a layer's icons ahead of time."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    neurons: list[Neuron] = []
    with Client(server) as client, Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(f"icons of {layer}", total=None)
        for update in client.render_icons(layer, model=model, channels=_ranges(channels), icons=output is not None):
            neurons += update.neurons
            progress.update(task, completed=round(update.progress * update.total, 1), total=update.total)
    failed = [neuron.channel for neuron in neurons if neuron.icon_file.status == "failed"]
    if output:
        contact_sheet([neuron for neuron in neurons if neuron.icon]).save(output)
    if failed:
        raise StriateError(f"{len(failed)} icons could not be rendered (channels {failed}); the server's log says why")


@app.command()
def report(
    photo: Photo,
    server: Server = DEFAULT_SERVER,
    model: ModelName = "",
    layers: Annotated[
        list[str] | None, typer.Option("--layer", "-l", help="Repeat for several.", show_default="two that fit")
    ] = None,
    components: Annotated[int, typer.Option("--components", "-k", help="How many groups.")] = 6,
    wait: Wait = True,
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("report.html"),
) -> None:
    """Write a page on a photo: what the model predicts, and what its layers see."""
    with Client(server) as client, console.status("asking, and rendering what icons are missing"):
        names = layers or telling_layers(client.model(model))
        parts: list[SemanticDictionary | Factorization] = []
        for name in names:
            parts.append(client.factorize(photo, name, model=model, components=components, wait_for_icons=wait))
            parts.append(client.semantic_dictionary(photo, name, model=model, wait_for_icons=wait))
    page(photo.name, parts, output)
    console.print(f"wrote {output}")


@labels_app.command("list")
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
        _print_json([vars(label) for label in found])
        return
    table = Table("layer", "channel", "name", "source", "score", "author", box=None, padding=(0, 2))
    for label in found:
        score = "" if label.score is None else f"{label.score:.2f}"
        table.add_row(label.layer, str(label.channel), label.text, label.source, score, label.author)
    console.print(table)


@labels_app.command("set")
def set_label(
    layer: str, channel: int, name: str, server: Server = DEFAULT_SERVER, model: ModelName = "", author: str = ""
) -> None:
    """Name a neuron."""
    with Client(server) as client:
        client.set_label(layer, channel, name, model=model, author=author)


@labels_app.command("delete")
def delete_label(layer: str, channel: int, server: Server = DEFAULT_SERVER, model: ModelName = "") -> None:
    """Take a neuron's name away."""
    with Client(server) as client:
        client.delete_label(layer, channel, model=model)


@labels_app.command("export")
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


@labels_app.command("import")
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


def telling_layers(model: Model) -> list[str]:
    """Choose two layers for a report: the last maps of about 14 and of about 7 positions a side, where objects' parts
    and whole objects are seen.

    Raises:
        NotFound: no layer of the model is a map.
    """
    maps = [layer for layer in model.layers if layer.is_spatial and layer.shape[1] > 1]
    blocks = [layer for layer in maps if "." not in layer.name or layer.name.count(".") == 1] or maps
    if not blocks:
        raise NotFound(f"{model.name} has no layer of shape [channels, height, width] to report on", "layer", "")
    last = blocks[-1]
    wider = [layer for layer in blocks if layer.shape[1] > last.shape[1]]
    return list(dict.fromkeys([*([wider[-1].name] if wider else []), last.name]))


def contact_sheet(neurons: list[Neuron]) -> Pillow.Image:
    """Lay icons out in a grid, by channel."""
    icons = [neuron.icon for neuron in sorted(neurons, key=lambda neuron: neuron.channel)]
    size = icons[0].width if icons and icons[0] else 1
    across = max(1, min(16, len(icons)))
    sheet = Pillow.new("RGB", (across * size, -(-len(icons) // across) * size), "white")
    for number, icon in enumerate(icons):
        if icon:
            sheet.paste(icon, (number % across * size, number // across * size))
    return sheet


def groups_table(found: Factorization) -> Table:
    """Return the groups with what they do for the classes."""
    table = Table("", "group", "explains", *found.classes, box=None, padding=(0, 2))
    for group in found.groups:
        effects = (f"{effect:+.2f}" for effect in group.effects.values())
        table.add_row(f"[{group.color}]\u25a0[/]", group.name, f"{group.importance:.0%}", *effects)
    residual = found.residual_effects.sum(0)
    table.add_row("", "left out", "", *(f"{effect:+.2f}" for effect in residual))
    return table


def _strongest_positions(found: SemanticDictionary, count: int = 5) -> Table:
    table = Table("row", "column", "neurons (activation)", box=None, padding=(0, 2))
    strength = found.magnitude[tuple(found.positions.T)]
    for place in np.argsort(-strength)[:count]:
        row, column = found.positions[place].tolist()
        said = ", ".join(f"{neuron.name} ({neuron.activation:.1f})" for neuron in found.at(row, column)[:4])
        table.add_row(str(row), str(column), said)
    return table


def _said(predictions: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {probability:.0%}" for name, probability in predictions)


def _model_facts(model: Model) -> dict[str, Any]:
    return {**vars(model), "layers": [vars(layer) for layer in model.layers]}


def _neuron_facts(neuron: Neuron) -> dict[str, Any]:
    return {
        "channel": neuron.channel,
        "name": neuron.name,
        "activation": neuron.activation,
        "effects": neuron.effects,
        "icon": neuron.icon_file.status,
    }


def _ranges(text: str) -> list[int] | None:
    """Read "0-3,7" as [0, 1, 2, 3, 7]."""
    if not text:
        return None
    channels: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal()):
            raise typer.BadParameter(f"{text!r} are no channels; write them as 0-15,40")
        channels += range(int(first), int(last or first) + 1)
    return channels


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _add_commands(entries: tuple[EntryPoint, ...]) -> None:
    """Add the server's commands, where it is installed, and a word on installing it where it is not."""
    for entry in entries:
        app.command(entry.name)(_loaded(entry))


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except ImportError as error:
        return _not_installed(entry.name, str(error))


def _not_installed(command: str, reason: str) -> Any:
    def say() -> None:
        raise StriateError(f"`striate {command}` needs the server: pip install 'striate[service]' ({reason})")

    say.__doc__ = "Not installed: pip install 'striate[service]'."
    return say


def main() -> None:
    """Run the command line."""
    if len(sys.argv) < 2 or sys.argv[1] not in _OWN_COMMANDS:  # loading the server takes seconds: only where needed
        _add_commands(tuple(entry_points(group="striate.commands")))
    try:
        app()
    except (StriateError, FileNotFoundError, ValueError) as error:
        print(f"striate: {error}", file=sys.stderr)
        sys.exit(1)


_OWN_COMMANDS = {"models", "health", "activations", "dictionary", "factorize", "render", "report", "labels"}


if __name__ == "__main__":
    main()
