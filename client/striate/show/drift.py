"""What has drifted, as a page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from striate.results.monitoring import Change, ChannelDrift, ClassDrift, ConceptDrift, DriftData, GroupDrift, Monitor

_FILES = files("striate.show") / "page"


@dataclass(frozen=True)
class Drift(DriftData):
    """What the network sees in traffic, beside the reference."""

    def to_html(self, path: str | Path | None = None) -> str:
        """Return a page that needs nothing else, what has drifted side by side, and write it to `path`."""
        text = _page(self)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self.to_html())}" style="width: 100%; height: 640px; border: 0"></iframe>'


def _page(found: DriftData) -> str:
    monitor = found.monitor
    parts = [_summary(found)]
    if found.concepts:
        parts.append(_rows("Concepts", found.concepts))
    if found.groups:
        parts.append(_rows("Groups", found.groups))
    if found.channels:
        parts.append(_rows("Channels", found.channels))
    if found.classes:
        parts.append(_classes(found.classes))
    parts.append(_tables(found))
    style = (_FILES / "page.css").read_text(encoding="utf-8") + (_FILES / "drift.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(monitor.name)}: drift · Striate</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{escape(monitor.name)}</h1>{_about(monitor, found)}</header>\n{''.join(parts)}\n"
        "</main>\n</body>\n</html>\n"
    )


def _about(monitor: Monitor, found: DriftData) -> str:
    layers = ", ".join((*monitor.layers, *(f"basis {name}" for name in monitor.bases)))
    return (
        f'<p class="soft">{found.images} newest images of traffic beside {found.reference_images} of the reference · '
        f"{escape(monitor.model.name)} · {escape(layers)}</p>"
    )


def _summary(found: DriftData) -> str:
    """Say in words what has drifted most."""
    concepts = [each for each in found.concepts if each.significant]
    drifted = [each for each in (*found.groups, *found.channels, *found.classes) if each.significant]
    if concepts or drifted:
        most = concepts[0] if concepts else max(drifted, key=lambda each: each.score)
        channels = sum(layer.significant_channels for layer in found.layers)
        counted = f" {channels} channels have drifted." if channels else ""
        text = f"Most drifted: <b>{escape(most.name)}</b>, {_words(most.change)}.{counted}"
    elif found.significant:
        text = "Numbers of whole layers have drifted: see below."
    else:
        text = "Nothing has drifted by more than chance explains."
    if not found.enough:
        text += " There are few images: a change of medium size might go unseen."
    return f"<section><p>{text}</p></section>\n"


def _words(change: Change) -> str:
    """Return "strong in 2 % of images instead of 8 %"."""
    return f"strong in {_percent(change.now)} of images instead of {_percent(change.before)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def _rows(title: str, found: Sequence[ConceptDrift] | Sequence[ChannelDrift] | Sequence[GroupDrift]) -> str:
    rows = "\n".join(_row(each) for each in found)
    return (
        f'<section><h2>{title}</h2><div role="table" aria-label="{title}">'
        '<div role="row" class="drifted head small"><span role="columnheader">excited by</span>'
        '<span role="columnheader">name</span><span role="columnheader">reference</span>'
        '<span role="columnheader">traffic</span></div>\n'
        f"{rows}\n</div></section>\n"
    )


def _row(drifted: ConceptDrift | ChannelDrift | GroupDrift) -> str:
    each = drifted.most_drifted if isinstance(drifted, ConceptDrift) else drifted
    where = each.layer if isinstance(each, ChannelDrift) else each.basis
    number = f"channel {each.channel}" if isinstance(each, ChannelDrift) else f"group {each.group}"
    worst = [f"{escape(name or 'no slice')} {effect:+.2f}" for name, effect in each.slices.items()]
    slices = f'<div class="small">worst in {", ".join(worst)}</div>' if len(worst) > 1 else ""
    if isinstance(each, GroupDrift) and each.outcomes:
        right = f"{_percent(each.accuracy)} of {each.outcomes} outcomes right where it is the strongest"
        slices = f'<div class="small">{right}</div>{slices}'
    icon = _picture(each.icon_file.data, f"what excites {each.name}") if each.icon_file.data else ""
    kind = "drifted significant" if drifted.significant else "drifted"
    chance = _chance(each.change)
    if isinstance(drifted, ConceptDrift):
        number = f"the most drifted of {drifted.channels} channels" if drifted.channels > 1 else number
        chance = _times_chance(drifted.score, drifted.significant)
    return (
        f'<div role="row" class="{kind}"><span role="cell" class="icon">{icon}</span><span role="cell">'
        f'<div class="name">{escape(each.name)}</div><div class="small">{escape(where)} · {number}</div>'
        f"<div>{_words(each.change)}</div>"
        f'<div class="small">{chance}</div>{slices}</span>'
        f'<span role="cell" class="pictures">{_pictures(each.reference_files, "reference")}</span>'
        f'<span role="cell" class="pictures">{_pictures(each.window_files, "traffic")}</span></div>'
    )


def _chance(change: Change) -> str:
    return _times_chance(change.score, change.significant)


def _times_chance(score: float, significant: bool) -> str:
    if significant:
        return f"{score:.1f} times what chance explains" if score > 1 else "more than chance explains, as one of many"
    return "no more than chance explains"


def _pictures(found: Sequence[bytes], of: str) -> str:
    return "".join(_picture(each, f"an image of the {of}") for each in found)


def _picture(data: bytes, says: str) -> str:
    return f'<img src="data:image/webp;base64,{base64.b64encode(data).decode()}" alt="{escape(says)}">'


def _classes(found: Sequence[ClassDrift]) -> str:
    rows = "".join(
        f'<tr{" class=significant" if each.significant else ""}><th scope="row">{escape(each.name)}</th>'
        f'<td class="number">{_percent(each.change.before)}</td><td class="number">{_percent(each.change.now)}</td>'
        f"<td>{_chance(each.change)}</td></tr>"
        for each in found
    )
    return (
        '<section><h2>Predicted classes</h2><table><thead><tr><th scope="col">class</th><th scope="col">reference</th>'
        f'<th scope="col">traffic</th><th scope="col"></th></tr></thead><tbody>{rows}</tbody></table></section>\n'
    )


def _tables(found: DriftData) -> str:
    layers = "".join(
        f'<tr><th scope="row">{escape(each.name)}</th><td class="number">{each.significant_channels}</td>'
        f'<td class="number">{each.dead_channels}</td><td class="number">{each.newly_dead_channels}</td>'
        f'<td class="number">{each.saturated_channels}</td></tr>'
        for each in found.layers
    )
    text = ""
    if layers:
        text += (
            '<section><h2>Layers</h2><table><thead><tr><th scope="col">layer</th><th scope="col">drifted channels</th>'
            '<th scope="col">dead channels</th><th scope="col">newly dead</th>'
            '<th scope="col">saturated</th></tr></thead>'
            f"<tbody>{layers}</tbody></table></section>\n"
        )
    if found.bases:
        rows = "".join(
            f'<tr><th scope="row">{escape(each.basis)}</th><td class="number">{_percent(each.novelty_before)}</td>'
            f'<td class="number">{_percent(each.novelty_now)}</td><td>{_chance(each.change)}</td></tr>'
            for each in found.bases
        )
        text += (
            '<section><h2>What no group explains</h2><table><thead><tr><th scope="col">basis</th>'
            '<th scope="col">reference</th><th scope="col">traffic</th><th scope="col"></th></tr></thead>'
            f"<tbody>{rows}</tbody></table></section>\n"
        )
    named = [each for each in found.slices if each.name]
    if named:
        rows = "".join(
            f'<tr><th scope="row">{escape(each.name)}</th><td class="number">{each.images}</td><td class="number">'
            f"{_percent(each.accuracy) if each.outcomes else ''}</td></tr>"
            for each in named
        )
        text += (
            '<section><h2>Slices</h2><table><thead><tr><th scope="col">slice</th><th scope="col">images</th>'
            f'<th scope="col">accuracy</th></tr></thead><tbody>{rows}</tbody></table></section>\n'
        )
    return text
