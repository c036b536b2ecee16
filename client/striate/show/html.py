"""Interactive pages of results, each one file that needs nothing else: pictures, data and code are all inside."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from striate.results.dictionaries import SemanticDictionaryData
from striate.results.groups import FactorizationData, FactorizedLayersData
from striate.results.icons import Icon
from striate.results.neurons import Example, Label
from striate.show.pictures import cut_crops
from striate.show.sentences import becomes, image_name, more_groups, whole_percents

_LARGEST_PICTURE = 640  # pixels of the longer side: what the page shows, on a dense screen
_LARGEST_CROP = 80  # the same, of a crop
_DIGITS = 4  # of numbers in the page: more than a bar can show
_FILES = files("striate.show") / "page"
_SCRIPTS = (
    "elements",
    "images",
    "bars",
    "choice",
    "dictionary",
    "factorization",
    "flows",
    "page",
)  # the last one shows the page

Section = SemanticDictionaryData | FactorizationData | FactorizedLayersData
"""What a section of a page shows."""


def page(
    title: str,
    sections: Sequence[Section],
    path: str | Path | None = None,
    *,
    completed_by: str = "wait_for_icons(every=True)",
    being_rendered: int = 0,
    introduction: Sequence[str] = (),
) -> str:
    """Return a page of dictionaries and factorizations, in the order given, and write it to `path`.

    Names of neurons are other people's text: they go into the page as data, which it sets as text, never as markup.

    Args:
        path: holds the old page or the new one, whenever it is looked at.
        completed_by: the command that adds what icons are missing.
        being_rendered: so many are on their way, and the page will be written again: while it is open it shows them.
        introduction: paragraphs that the page opens with.
    """
    data = [_section(each) for each in sections]
    content = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    paragraphs = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in introduction)
    missing = _missing(sections, completed_by, being_rendered)
    text = _assembled(title=escape(title), data=content, introduction=paragraphs, missing=missing)
    if path is not None:
        written = Path(f"{path}.part")
        written.write_text(text, encoding="utf-8")
        written.replace(path)
    return text


def count_icons(sections: Sequence[Section]) -> tuple[int, int]:
    """Return how many icons are not rendered yet, and how many there are in all."""
    icons = {id(icon): icon for each in sections for icon in each.icons if icon.status != "not_requested"}
    return sum(icon.status == "queued" for icon in icons.values()), len(icons)


def _missing(sections: Sequence[Section], completed_by: str, being_rendered: int) -> str:
    """Say, in HTML, what the page lacks, and what completes it."""
    missing, total = count_icons(sections)
    if not missing:
        return ""
    command = f"<code>{escape(completed_by)}</code>"
    if being_rendered:
        return (
            f'<p id="missing" class="soft" data-written="{time.time() * 1000:.0f}">{being_rendered} icons are being '
            f"rendered, and appear here by themselves. If that has been stopped, this completes the page: {command}</p>"
        )
    return (
        f'<p id="missing" class="soft">{missing} of {total} icons are not rendered yet. '
        f"This completes the page: {command}</p>"
    )


def _assembled(**contents: str) -> str:
    """Return page.html with these contents, already escaped, and with its style and scripts, at the places they name.

    What is put in is not searched for places: a title or a name that reads "{{data}}" stays what it is.
    """
    contents["style"] = _read("page.css")
    contents["script"] = "\n".join(_read(f"{name}.js") for name in _SCRIPTS)
    return re.sub(r"\{\{(\w+)\}\}", lambda place: contents[place[1]], _read("page.html"))


def _read(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def _section(found: Section) -> dict[str, Any]:
    match found:
        case SemanticDictionaryData():
            return _dictionary(found)
        case FactorizedLayersData():
            return _flows(found)
        case FactorizationData():
            return _factorization(found)


def _flows(found: FactorizedLayersData) -> dict[str, Any]:
    return {
        "kind": "flows",
        **_heading(found.layers[0]),
        "layer": " to ".join(each.layer.name for each in found.layers if each.layer),
        "shape": [],
        "images": _images(found.layers[0], pictures=False),
        "smooth": found.layers[0].smooth_max_pool,
        "columns": [
            {
                "layer": each.layer.name if each.layer else "",
                "groups": [
                    {
                        "name": group.name,
                        "color": group.color,
                        "icon": _icon(group.icon_file),
                        "crop": _picture(crops[0], _LARGEST_CROP) if (crops := cut_crops(each, k)) else "",
                    }
                    for k, group in enumerate(each.groups)
                ],
            }
            for each in found.layers
        ],
        "flows": [_rounded(flow.influence.sum(0)) for flow in found.flows],
    }


def _dictionary(found: SemanticDictionaryData) -> dict[str, Any]:
    return {
        "kind": "dictionary",
        **_heading(found),
        "images": [
            {"name": found.view.name, "predictions": found.predictions, "picture": _picture(found.image)},
        ],
        "size": found.magnitude.shape,
        "magnitude": _rounded(found.magnitude),
        "positions": found.positions.tolist(),
        "position_icons": [_icon(icon) for icon in found.position_icons],
        "channels": found.channels.tolist(),
        "activations": _rounded(found.activations),
        "classes": found.classes,
        "effects": _rounded(found.effects),
        "smooth": found.smooth_max_pool,
        "neurons": {
            channel: {
                "name": neuron.name,
                "named": bool(neuron.label.text),
                "label": _label(neuron.label),
                "icon": _icon(neuron.icon_file),
                "negative_icon": _icon(neuron.negative_icon_file) if neuron.negative_icon_file else None,
                "examples": [[_uri(one.data, "webp"), _example(one)] for one in neuron.examples],
            }
            for channel, neuron in found.neurons.items()
        },
    }


def _factorization(found: FactorizationData) -> dict[str, Any]:
    *shares, left_out = whole_percents([*found.shares.tolist(), found.left_out])
    return {
        "kind": "factorization",
        **_heading(found),
        "images": _images(found),
        "overlays": [_uri(overlay, "webp") for overlay in found.overlays],
        "spatial": _rounded(found.spatial.clip(min=0)),
        "classes": found.classes,
        "left_out": left_out,
        "more_groups": more_groups(found),
        "becomes": [becomes(found, number) for number in range(len(found.overlays))],
        "basis": found.basis,
        "smooth": found.smooth_max_pool,
        "residual": _rounded(found.residual_effects.sum(0)),
        "choices": [[each.components, float(f"{each.explained_variance:.{_DIGITS}g}")] for each in found.choices],
        "groups": [
            {
                "name": group.name,
                "label": _label(group.label),
                "color": group.color,
                "icon": _icon(group.icon_file),
                "share": share,
                "channels": group.channels if group.label.text else [],  # which are the name, if there is no other
                "effects": _rounded(group.effects.values()),
                "shares": _rounded(group.sobol_indices.values()),
                "crops": [_picture(crop, _LARGEST_CROP) for crop in cut_crops(found, k)],
            }
            for k, (group, share) in enumerate(zip(found.groups, shares, strict=True))
        ],
    }


def _images(found: FactorizationData, *, pictures: bool = True) -> list[dict[str, Any]]:
    """Return the images that were factorized, with what is predicted for each."""
    return [
        {
            "name": image_name(found, number),
            "predictions": found.predictions[number] if found.predictions else [],
            "picture": _picture(found.images[number]) if pictures and found.images else "",
        }
        for number in range(len(found.overlays))
    ]


def _heading(found: SemanticDictionaryData | FactorizationData) -> dict[str, Any]:
    return {
        "model": found.model.name if found.model else "",
        "version": found.model.version[:12] if found.model else "",
        "layer": found.layer.name if found.layer else "activations",
        "shape": list(found.layer.shape) if found.layer else [],
    }


def _label(label: Label) -> str:
    """Say where a name comes from, and how well it fits."""
    if not label.text:
        return "nobody has named it"
    source = {
        "person": f"named by {label.author or 'a person'}",
        "dissection": "named by network dissection",
        "examples": "the class of the images that excite it most",
        "class_effect": "the class that it pushes most",
        "imported": "an imported name",
    }.get(label.source, "")
    measures = {"dissection": "IoU", "class_effect": "share of its effect", "examples": "share of the information"}
    measure = measures.get(label.source, "score")
    return source if label.score is None else f"{source}, {measure} {label.score:.2f}"


def _example(example: Example) -> str:
    """Say what a natural example shows."""
    what = example.class_name or example.image_name or "a natural image that excites it"
    return f"{what}: activation {example.activation:.{_DIGITS}g}"


def _icon(icon: Icon) -> dict[str, Any]:
    preview = icon.status == "queued" and bool(icon.data)
    return {"status": icon.status, "data": _uri(icon.data, "webp") if icon.data else "", "preview": preview}


def _picture(image: Pillow.Image | None, largest: int = _LARGEST_PICTURE) -> str:
    if image is None:
        return ""
    shown = image.copy()
    shown.thumbnail((largest, largest))
    buffer = io.BytesIO()
    shown.save(buffer, "WEBP", quality=88)
    return _uri(buffer.getvalue(), "webp")


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _rounded(array: NDArray[Any] | Iterable[float]) -> Any:
    """Return nested lists of numbers, rounded to a few digits."""

    def shorten(value: Any) -> Any:
        return [shorten(each) for each in value] if isinstance(value, list) else float(f"{value:.{_DIGITS}g}")

    return shorten(np.asarray(array if isinstance(array, np.ndarray) else list(array), np.float64).tolist())
