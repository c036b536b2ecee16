"""The key of an overlay as a picture: what each color stands for."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image as Pillow
from PIL import ImageColor, ImageDraw, ImageFont

from striate.results.groups import Group
from striate.show.sentences import whole_percents

_ROW, _GAP, _SWATCH, _ICON, _TEXT, _BAR = 64, 10, 12, 56, 240, 5  # pixels
_INK, _PALE, _PAPER = "#222222", "#777777", "#ffffff"


def draw_key(groups: Sequence[Group], shares: Sequence[float]) -> Pillow.Image:
    """Return a row for each group: its color, its icon where it is rendered, its name, and its share of the activations
    as a number and as a bar.
    """
    left = _GAP + _SWATCH + _GAP + _ICON + _GAP
    key = Pillow.new("RGB", (left + _TEXT + _GAP, _GAP + len(groups) * (_ROW + _GAP)), _PAPER)
    canvas = ImageDraw.Draw(key)
    name_font, share_font = ImageFont.load_default(16), ImageFont.load_default(13)
    percents = whole_percents([*shares, max(0.0, 1 - sum(shares))])  # with what is left out, 100
    for number, group in enumerate(groups):
        top, color = _GAP + number * (_ROW + _GAP), ImageColor.getrgb(group.color)
        canvas.rectangle((_GAP, top, _GAP + _SWATCH, top + _ROW), fill=color)
        if group.icon is not None:
            icon = group.icon.convert("RGB").resize((_ICON, _ICON))
            key.paste(icon, (2 * _GAP + _SWATCH, top + (_ROW - _ICON) // 2))
        canvas.text((left, top + 8), fitting(group.name, name_font, _TEXT), fill=_INK, font=name_font)
        share = min(max(shares[number], 0.0), 1.0)
        canvas.text((left, top + 32), f"explains {percents[number]}%", fill=_PALE, font=share_font)
        right = left + max(round(share * _TEXT) - 1, 0)
        canvas.rectangle((left, top + _ROW - _BAR, right, top + _ROW), fill=color)
    return key


def fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return as much of a text as fits into so many pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
