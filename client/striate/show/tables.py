"""Results as tables and sentences for a terminal. Only the command line imports this: it takes rich to load."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from rich.table import Column, Table
from rich.text import Text

from striate.results.bases import Basis
from striate.results.dictionaries import SemanticDictionaryData
from striate.results.examples import LayerExamples
from striate.results.groups import FactorizationData, FactorizedLayersData, Group
from striate.results.images import Predictions
from striate.results.models import Layer, Model
from striate.results.monitoring import DriftData, Monitor
from striate.results.neurons import Label
from striate.show.sentences import becomes, image_name, whole_percents


def layers_table(model: Model) -> Table:
    """Return the layers of a model. Where there is little room, types are cut, and names never."""
    table = _table(
        Column("layer", overflow="fold", ratio=3), Column("type", no_wrap=True, max_width=20), "shape", "map"
    )
    for layer in model.layers:
        aliases = f" ({', '.join(layer.aliases)})" if layer.aliases else ""
        table.add_row(f"{layer.name}{aliases}", layer.type, _extents(layer.shape), _map(layer))
    return table


def _map(layer: Layer) -> str:
    """Say how a layer's output holds a map: "14x14 tokens after cls, signed"."""
    if not layer.is_map:
        return "none"
    tokens = " ".join(name or "?" for name in layer.prefix_tokens)
    kind = f"{_extents(layer.grid)} {layer.layout}" + (f" after {tokens}" if tokens else "")
    return f"{kind}, signed" if layer.signed else kind


def _extents(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def positions_table(found: SemanticDictionaryData, count: int = 5) -> Table:
    """Return the positions with the longest activation vectors, and their strongest neurons."""
    table = _table("row", "column", "neurons (activation)")
    magnitude = found.magnitude[tuple(found.positions.T)]
    for index in np.argsort(-magnitude)[:count]:
        row, column = found.positions[index].tolist()
        neurons = ", ".join(f"{neuron.name} ({neuron.activation:.1f})" for neuron in found.at(row, column)[:4])
        table.add_row(str(row), str(column), neurons)
    return table


def groups_table(found: FactorizationData) -> Table:
    """Return the groups with their effects on the classes."""
    table = _table("", "group", "share", *found.classes)
    *shares, left_out = whole_percents([*found.shares.tolist(), found.left_out])
    for group, share in zip(found.groups, shares, strict=True):
        effects = (f"{effect:+.2f}" for effect in group.effects.values())
        table.add_row(_swatch(group), group.name, f"{share}%", *effects)
    residual = found.residual_effects.sum(0)
    table.add_row("", "left out", f"{left_out}%", *(f"{effect:+.2f}" for effect in residual))
    return table


def flow_tables(found: FactorizedLayersData) -> list[Table]:
    """Return, for each layer but the last, how its groups feed those of the next."""
    tables = []
    for (earlier, later), flow in zip(pairwise(found.layers), found.flows, strict=True):
        names = [_swatch(group) + f" {group.name}" for group in later.groups]
        table = _table(f"{_layer_name(earlier)} to {_layer_name(later)}", *names)
        for group, row in zip(earlier.groups, flow.influence.sum(0), strict=True):
            table.add_row(_swatch(group) + f" {group.name}", *(f"{value:+.2f}" for value in row))
        table.add_row("left out", *(f"{value:+.2f}" for value in flow.residual.sum(0)))
        tables.append(table)
    return tables


def bases_table(bases: Iterable[Basis]) -> Table:
    """Return a row for each basis."""
    table = _table("name", "model", "layer", "groups", "images", "left out", "saved")
    for basis in bases:
        table.add_row(
            basis.name,
            f"{basis.model.name} {basis.model.version[:12]}",
            basis.layer,
            str(basis.components),
            str(basis.image_count),
            f"{basis.relative_error:.0%}",
            f"{basis.created:%Y-%m-%d %H:%M} UTC",
        )
    return table


def basis_groups_table(basis: Basis) -> Table:
    """Return the groups of a basis with their strongest channels."""
    table = _table("", "group", "explains", "channels")
    for group in basis.groups:
        channels = ", ".join(map(str, group.channels))
        table.add_row(_swatch(group), group.name, f"{group.importance:.0%}", channels)
    return table


def monitors_table(monitors: Iterable[Monitor]) -> Table:
    """Return a row for each monitor."""
    table = _table("name", "model", "watches", "reference", "seen", "last")
    for each in monitors:
        last = f"{each.last_observed:%Y-%m-%d %H:%M}" if each.last_observed else "never"
        watched = ", ".join((*each.layers, *each.bases))
        table.add_row(each.name, each.model.name, watched, str(each.reference_images), str(each.observed_images), last)
    return table


def drift_table(found: DriftData, count: int) -> Table:
    """Return what has drifted most, concepts first; bold where it is more than chance explains."""
    table = _table("", "of", "name", "strong in", "before", "times chance")
    rows: list[tuple[str, str, Any]] = [
        *(("concept", found.monitor.model.name, each) for each in found.concepts),
        *(("group", each.basis, each) for each in found.groups),
        *(("channel", each.layer, each) for each in found.channels),
        *(("class", found.monitor.model.name, each) for each in found.classes),
    ]
    rows.sort(key=lambda row: (row[0] != "concept", -row[2].score))
    most = count // 2  # concepts, which tell most often what has changed
    concepts = len(found.concepts)
    for kind, of, each in [*rows[: min(most, concepts)], *rows[concepts:]][:count]:
        name = Text(each.name, "bold" if each.significant else "")
        shares = (f"{100 * share:.1f} %" for share in (each.change.now, each.change.before))
        table.add_row(kind, of, name, *shares, f"{each.score:.1f}")
    return table


def examples_table(found: LayerExamples) -> Table:
    """Return the channels of a layer with the classes that excite them."""
    table = _table("channel", "name", "classes (mean peak)", "median", "99.9%")
    for channel, each in found.channels.items():
        classes = ", ".join(f"{name} {peak:.3g}" for name, peak in list(each.mean_peaks.items())[:3])
        quantiles = list(each.quantiles.values())
        table.add_row(str(channel), each.label.text, classes, f"{quantiles[0]:.3g}", f"{quantiles[-1]:.3g}")
    return table


def labels_table(labels: Iterable[Label]) -> Table:
    """Return a row for each name."""
    table = _table("layer", "channel", "name", "source", "score", "author")
    for label in labels:
        score = "" if label.score is None else f"{label.score:.2f}"
        channel = "direction" if label.channel is None else str(label.channel)
        table.add_row(label.layer, channel, label.text, label.source, score, label.author)
    return table


def predictions_text(predictions: Predictions) -> str:
    """Return predictions as a line of text."""
    return ", ".join(f"{name} {probability:.0%}" for name, probability in predictions)


def fidelity_sentences(found: FactorizationData) -> list[str]:
    """Say of each image what becomes of its first prediction when the layer is replaced by its groups."""
    if len(found.fidelity) == 1:
        return [f"With these groups alone, {becomes(found, 0)}."]
    return [
        f"With these groups alone, {image_name(found, number)}: {becomes(found, number)}."
        for number in range(len(found.fidelity))
    ]


def _table(*headers: str | Text | Column) -> Table:
    columns = [each if isinstance(each, Column) else Column(header=each) for each in headers]
    return Table(*columns, box=None, padding=(0, 2, 0, 0), pad_edge=False)


def _swatch(group: Group) -> Text:
    return Text("\u25a0", group.color)


def _layer_name(found: FactorizationData) -> str:
    return found.layer.name if found.layer else ""
