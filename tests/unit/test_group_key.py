"""The key of an overlay: a row a group, with its color, icon, name and share."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from striate.results.groups import Group
from striate.results.neurons import Icon, Label
from striate.show.group_key import draw_key


def group(color: str, name: str, icon: Icon) -> Group:
    return Group(color, icon, Label(name), importance=0.5, channels=[1, 2, 3], effects={})


def test_a_key_shows_each_groups_color_icon_and_share() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), "#0000ff").save(buffer, "WEBP", lossless=True)
    long = "a name that is far too long for the row that it is to be written in"
    groups = [
        group("#ff0000", "ears", Icon("ready", buffer.getvalue())),
        group("#00ff00", long, Icon("queued")),
        group("#ffff00", "", Icon("queued")),
    ]
    key = np.asarray(draw_key(groups, [1.0, 0.25, 0.0])).astype(int)
    height = len(key) // 3
    rows = [key[number * height : (number + 1) * height] for number in range(3)]
    for row, color in zip(rows, ([255, 0, 0], [0, 255, 0], [255, 255, 0]), strict=True):
        assert (row == color).all(2).sum() > 500, "the swatch"
    assert (rows[0] == [0, 0, 255]).all(2).sum() == 56 * 56, "the icon"
    assert not (rows[1] == [0, 0, 255]).all(2).any()
    full, quarter = ((row[-20:, 90:] == row[-20, 15]).all(2).any(0).sum() for row in rows[:2])
    assert abs(full - 4 * quarter) <= 4, "the bars"
    assert (key[:, -10:] == 255).all(), "names end before the margin"
