"""What commands print: tables, JSON, and contact sheets of icons."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import typer
from PIL import Image as Pillow
from rich.console import Console
from rich.table import Table

from striate.example_results import LayerExamples
from striate.groups import Factorization, FactorizedLayers
from striate.results import Model, Neuron, SemanticDictionary

console = Console()

_ACROSS = 16  # pictures in a row of a contact sheet, or as many as leave no channel's facets parted


def contact_sheet(neurons: list[Neuron]) -> Pillow.Image:
    """Lay icons out in a grid on white, by channel, a channel's facets side by side in one row."""
    ordered = sorted(neurons, key=lambda neuron: neuron.channel)
    pictures = [picture for neuron in ordered for picture in neuron.facets]
    facets = max((len(neuron.facets) for neuron in ordered), default=1)
    size = pictures[0].width if pictures else 1
    across = max(1, min(_ACROSS // facets * facets, len(pictures)))
    sheet = Pillow.new("RGB", (across * size, -(-len(pictures) // across) * size), "white")
    for number, picture in enumerate(pictures):
        opacity = picture.getchannel("A") if picture.mode == "RGBA" else None
        sheet.paste(picture.convert("RGB"), (number % across * size, number // across * size), opacity)
    return sheet


def example_sheet(found: LayerExamples) -> Pillow.Image:
    """Lay natural examples out, a channel a row, strongest first."""
    rows = [[one.image for one in each.examples] for each in found.channels.values()]
    size = next((row[0].width for row in rows if row), 1)
    sheet = Pillow.new("RGB", (size * max(1, *map(len, rows)), size * len(rows)), "white")
    for number, row in enumerate(rows):
        for place, image in enumerate(row):
            sheet.paste(image, (place * size, number * size))
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


def flow_tables(found: FactorizedLayers) -> list[Table]:
    """Return, for each layer but the last, what its groups give to those of the next."""
    tables = []
    for (earlier, later), flow in zip(pairwise(found.layers), found.flows, strict=True):
        names = [f"[{group.color}]\u25a0[/] {group.name}" for group in later.groups]
        title = f"{_layer_name(earlier)} to {_layer_name(later)}"
        table = Table(title, *names, box=None, padding=(0, 2))
        for group, row in zip(earlier.groups, flow.influence.sum(0), strict=True):
            table.add_row(f"[{group.color}]\u25a0[/] {group.name}", *(f"{value:+.2f}" for value in row))
        table.add_row("left out", *(f"{value:+.2f}" for value in flow.residual.sum(0)))
        tables.append(table)
    return tables


def _layer_name(found: Factorization) -> str:
    return found.layer.name if found.layer else ""


def groups_facts(found: Factorization) -> dict[str, Any]:
    return {
        "basis": found.basis,
        "relative_error": found.relative_error,
        "fidelity": [vars(each) for each in found.fidelity],
        "choices": [vars(each) for each in found.choices],
        "groups": [
            {
                "name": group.name,
                "color": group.color,
                "importance": group.importance,
                "effects": group.effects,
                "sobol_indices": group.sobol_indices,
                "crops": [vars(crop) for crop in group.crops],
            }
            for group in found.groups
        ],
    }


def what_is_lost(found: Factorization) -> str:
    """Say in words what becomes of the predictions where nothing but the groups is left of the layer."""
    kept = sum(each.same_top_class for each in found.fidelity)
    worst = max(each.kl_divergence for each in found.fidelity)
    of = "it" if len(found.fidelity) == 1 else f"{kept} of {len(found.fidelity)} images"
    most = "" if len(found.fidelity) == 1 else "at most "
    keeps = "keeps" if kept else "loses"
    return (
        f"Left with nothing else, the network {keeps} its first class for {of}; KL divergence {most}{worst:.2g} nats."
    )


def strongest_positions(found: SemanticDictionary, count: int = 5) -> Table:
    table = Table("row", "column", "neurons (activation)", box=None, padding=(0, 2))
    strength = found.magnitude[tuple(found.positions.T)]
    for place in np.argsort(-strength)[:count]:
        row, column = found.positions[place].tolist()
        said = ", ".join(f"{neuron.name} ({neuron.activation:.1f})" for neuron in found.at(row, column)[:4])
        table.add_row(str(row), str(column), said)
    return table


def said(predictions: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {probability:.0%}" for name, probability in predictions)


def model_facts(model: Model) -> dict[str, Any]:
    return {**vars(model), "layers": [vars(layer) for layer in model.layers]}


def neuron_facts(neuron: Neuron) -> dict[str, Any]:
    return {
        "channel": neuron.channel,
        "name": neuron.name,
        "activation": neuron.activation,
        "effects": neuron.effects,
        "icon": neuron.icon_file.status,
    }


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def channel_ranges(text: str) -> list[int] | None:
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


def row_and_column(text: str) -> tuple[int, int] | None:
    """Read "3,4" as (3, 4)."""
    if not text:
        return None
    row, _, column = text.partition(",")
    if not (row.isdecimal() and column.isdecimal()):
        raise typer.BadParameter(f"{text!r} is no position; write it as ROW,COLUMN, such as 3,4")
    return int(row), int(column)
