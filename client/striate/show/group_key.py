"""The key of an overlay as a picture: what each color stands for."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image as Pillow
from PIL import ImageColor, ImageDraw, ImageFont

from striate.results.groups import Group

_ROW, _GAP, _SWATCH, _ICON, _TEXT, _BAR = 64, 10, 12, 56, 240, 5  # pixels
_INK, _PALE, _PAPER = "#222222", "#777777", "#ffffff"


def draw_key(groups: Sequence[Group]) -> Pillow.Image:
    """Return a row for each group: its color, its icon where it is rendered, its name, and the share of the
    activations that it explains alone, as a number and as a bar.
    """
    left = _GAP + _SWATCH + _GAP + _ICON + _GAP
    key = Pillow.new("RGB", (left + _TEXT + _GAP, _GAP + len(groups) * (_ROW + _GAP)), _PAPER)
    canvas = ImageDraw.Draw(key)
    name_font, share_font = ImageFont.load_default(16), ImageFont.load_default(13)
    for number, group in enumerate(groups):
        top, color = _GAP + number * (_ROW + _GAP), ImageColor.getrgb(group.color)
        canvas.rectangle((_GAP, top, _GAP + _SWATCH, top + _ROW), fill=color)
        if group.icon is not None:
            icon = group.icon.convert("RGB").resize((_ICON, _ICON))
            key.paste(icon, (2 * _GAP + _SWATCH, top + (_ROW - _ICON) // 2))
        canvas.text((left, top + 8), _fitting(group.name, name_font), fill=_INK, font=name_font)
        share = min(max(group.importance, 0.0), 1.0)
        canvas.text((left, top + 32), f"explains {share:.0%}", fill=_PALE, font=share_font)
        right = left + max(round(share * _TEXT) - 1, 0)
        canvas.rectangle((left, top + _ROW - _BAR, right, top + _ROW), fill=color)
    return key


def _fitting(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return as much of a name as fits into the row."""
    if font.getlength(name) <= _TEXT:
        return name
    while name and font.getlength(name + "...") > _TEXT:
        name = name[:-1]
    return name + "..."
