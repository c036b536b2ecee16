"""Results as notebooks show them: tables with pictures inside, no scripts, so that they show wherever notebooks do."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise

import numpy as np
from PIL import Image as Pillow

from striate.results.activations import Activations
from striate.results.bases import Basis, BuildProgress
from striate.results.dictionaries import SemanticDictionaryData
from striate.results.examples import ChannelExamples, IndexProgress, LayerExamples
from striate.results.groups import FactorizationData, FactorizedLayersData, Group
from striate.results.icons import Icon, IconProgress
from striate.results.images import Predictions
from striate.results.models import Layer, Model
from striate.results.neurons import Example, Label, Neuron, RenderProgress
from striate.results.shown import notebook_html
from striate.show.pictures import open_overlay

_ICON, _IMAGE = 72, 224  # pixels, as shown
_POSITIONS, _NEURONS = 5, 4  # of a dictionary: the strongest of each
_CHANNELS = 20  # of a layer's examples


class _Html(str):
    """A text that is HTML already. Every other text is other people's, and is escaped."""

    __slots__ = ()


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> _Html:
    head = "".join(f"<th>{_cell(each)}</th>" for each in headings)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(each)}</td>' for each in row)}</tr>" for row in rows)
    return _Html(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def _cell(value: object) -> str:
    return value if isinstance(value, _Html) else escape(str(value))


def _joined(*parts: object) -> _Html:
    return _Html("".join(f"<div>{_cell(part)}</div>" for part in parts if part != ""))


def _scrolled(content: str) -> _Html:
    return _Html(f'<div style="max-height: 24em; overflow: auto">{content}</div>')


def _image(data: bytes, width: int, kind: str = "webp") -> _Html:
    encoded = base64.b64encode(data).decode()
    return _Html(f'<img width="{width}" alt="" src="data:image/{kind};base64,{encoded}">')


def _drawn(picture: Pillow.Image | None) -> _Html:
    if picture is None:
        return _Html("")
    shown, buffer = picture.copy(), io.BytesIO()
    shown.thumbnail((2 * _IMAGE, 2 * _IMAGE))
    shown.save(buffer, "WEBP")
    return _image(buffer.getvalue(), _IMAGE)


@notebook_html.register
def _icon(icon: Icon) -> _Html:
    words = {"queued": "not rendered yet", "not_requested": "", "failed": "could not be rendered"}
    return _image(icon.data, _ICON) if icon.data else _Html(words.get(icon.status, escape(icon.status)))


@notebook_html.register
def _example(example: Example) -> _Html:
    return _joined(_image(example.data, _ICON), example.class_name or example.image_name)


@notebook_html.register
def _label(label: Label) -> _Html:
    place = "" if label.channel is None else f", channel {label.channel} of {label.layer}"
    source = f" ({label.source}{place})" if label.source else ""
    return _Html(f"{escape(label.text or 'nobody has named it')}{escape(source)}")


@notebook_html.register
def _layer(layer: Layer) -> _Html:
    return _layers([layer])


@notebook_html.register
def _model(model: Model) -> _Html:
    size = " x ".join(map(str, model.input_size))
    return _joined(
        f"{model.name}: {model.architecture}, {size} pixels, {len(model.classes)} classes, {len(model.layers)} layers",
        _scrolled(_layers(model.layers)),
    )


def _layers(layers: Iterable[Layer]) -> _Html:
    rows = [
        (layer.name, ", ".join(layer.aliases), layer.type, _by(layer.shape), layer.layout, _by(layer.grid))
        for layer in layers
    ]
    return _table(["layer", "alias", "type", "shape", "layout", "grid"], rows)


def _by(extents: Iterable[int]) -> str:
    return " x ".join(map(str, extents))


@notebook_html.register
def _activations(found: Activations) -> _Html:
    rows = [
        (name, array.dtype, list(array.shape), f"{array.min():.3g}", f"{array.max():.3g}")
        for name, array in found.items()
    ]
    said = [f"image {number}: {_said(each)}" for number, each in enumerate(found.predictions) if each]
    return _joined(*said, _table(["layer", "type", "shape", "least", "most"], rows))


def _said(predictions: Predictions) -> str:
    return ", ".join(f"{name} {probability:.0%}" for name, probability in predictions)


@notebook_html.register
def _neuron(neuron: Neuron) -> _Html:
    icon = neuron.negative_icon_file if neuron.sign < 0 and neuron.negative_icon_file else neuron.icon_file
    activation = "" if np.isnan(neuron.activation) else f"{neuron.activation:.1f}"
    return _joined(
        _icon(icon), neuron.name, activation, _effects(neuron.effects), *(_example(each) for each in neuron.examples)
    )


def _effects(effects: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {effect:+.2f}" for name, effect in effects.items())


@notebook_html.register
def _dictionary(found: SemanticDictionaryData) -> _Html:
    """Show the strongest positions with their strongest neurons."""
    rows = []
    for index in np.argsort(-found.magnitude[tuple(found.positions.T)])[:_POSITIONS]:
        row, column = found.positions[index].tolist()
        neurons = [
            _joined(
                _icon(n.negative_icon_file or n.icon_file if n.sign < 0 else n.icon_file), n.name, f"{n.activation:.1f}"
            )
            for n in found.at(row, column)[:_NEURONS]
        ]
        rows.append((f"row {row}, column {column}", *neurons))
    headings = ["where", *["strongest neurons", "", "", ""][: max((len(row) for row in rows), default=1) - 1]]
    return _joined(
        f"{found.layer.name} of {found.model.name}: {_said(found.predictions)}",
        _drawn(found.image),
        _table(headings, rows),
    )


@notebook_html.register
def _group(group: Group) -> _Html:
    return _groups([group])


def _groups(groups: Sequence[Group]) -> _Html:
    classes = list(groups[0].effects) if groups else []
    rows = [
        (
            _Html(f'<span style="color: {escape(group.color)}">\u25a0</span>'),
            _icon(group.icon_file),
            group.name,
            f"{group.importance:.0%}",
            *(f"{group.effects[name]:+.2f}" for name in classes),
        )
        for group in groups
    ]
    return _table(["", "", "group", "explains", *classes], rows)


@notebook_html.register
def _factorization(found: FactorizationData) -> _Html:
    where = f"{found.layer.name} of {found.model.name}: " if found.layer and found.model else ""
    pictures = [
        _joined(_drawn(open_overlay(found, number)), _said(found.predictions[number]) if found.predictions else "")
        for number in range(len(found.overlays))
    ]
    return _joined(
        f"{where}{len(found.groups)} groups explain {1 - found.relative_error**2:.0%}", *pictures, _groups(found.groups)
    )


@notebook_html.register
def _flows(found: FactorizedLayersData) -> _Html:
    parts: list[object] = [_factorization(each) for each in found.layers]
    for (earlier, later), flow in zip(pairwise(found.layers), found.flows, strict=True):
        names = [group.name for group in later.groups]
        rows = [
            (group.name, *(f"{value:+.2f}" for value in row))
            for group, row in zip(earlier.groups, flow.influence.sum(0), strict=True)
        ]
        parts.append(_table(["feeds", *names], rows))
    return _joined(*parts)


@notebook_html.register
def _basis(basis: Basis) -> _Html:
    about = (
        f"{basis.name}: {basis.components} groups of {basis.layer} of {basis.model.name}, in {basis.image_count} images"
    )
    return _joined(about, _groups(basis.groups) if basis.groups else "")


@notebook_html.register
def _channel_examples(found: ChannelExamples) -> _Html:
    return _channels([found])


@notebook_html.register
def _layer_examples(found: LayerExamples) -> _Html:
    shown = list(found.channels.values())[:_CHANNELS]
    left = len(found.channels) - len(shown)
    return _joined(
        f"{found.layer.name} of {found.model.name}: {found.images} images",
        _channels(shown),
        f"and {left} more channels" if left else "",
    )


def _channels(channels: Iterable[ChannelExamples]) -> _Html:
    rows = [
        (each.channel, each.label.text, _Html("".join(_image(one.data, _ICON) for one in each.examples)))
        for each in channels
    ]
    return _table(["channel", "name", "excited by"], rows)


@notebook_html.register
def _icon_progress(found: IconProgress) -> _Html:
    return _bar(found.progress, f"{found.completed} of {found.total} icons")


@notebook_html.register
def _render_progress(found: RenderProgress) -> _Html:
    return _bar(found.progress, f"{found.completed} of {found.total} icons")


@notebook_html.register
def _index_progress(found: IndexProgress) -> _Html:
    return _Html(f"{found.indexed} images")


@notebook_html.register
def _build_progress(found: BuildProgress) -> _Html:
    return _bar(found.progress, f"{found.phase}, {found.image_count} images")


def _bar(share: float, words: str) -> _Html:
    return _Html(f'<progress value="{share:.3f}"></progress> {escape(words)}')
