"""Pictures side by side: contact sheets of icons and of natural examples, and overlays with their key."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from striate.results.examples import LayerExamples
from striate.results.groups import FactorizationData
from striate.results.neurons import Neuron
from striate.show.group_key import draw_key, fitting
from striate.show.pictures import open_overlay
from striate.show.sentences import image_name

_ACROSS = 16  # pictures in a row, or as many fewer as it takes to keep each channel's facets in one row
_STRIP, _GAP = 22, 12  # pixels: a line of text under a picture, and the space between pictures
_OVERLAY = 512  # pixels of the longer side: an overlay is as small as the network's input
_OVERLAYS_ACROSS = 3
_INK, _PAPER = "#222222", "#ffffff"


def contact_sheet(neurons: Sequence[Neuron]) -> Pillow.Image:
    """Lay icons out on white, by channel, a channel's facets side by side in one row, each over its number."""
    ordered = sorted(neurons, key=lambda neuron: neuron.channel)
    pictures = [(str(neuron.channel), picture) for neuron in ordered for picture in neuron.facets]
    facets = max((len(neuron.facets) for neuron in ordered), default=1)
    return _grid(pictures, _ACROSS // facets * facets)


def example_sheet(found: LayerExamples) -> Pillow.Image:
    """Lay natural examples out, a channel a row, strongest first."""
    rows = [[one.image for one in each.examples] for each in found.channels.values()]
    size = next((row[0].width for row in rows if row), 1)
    sheet = Pillow.new("RGB", (size * max(1, *map(len, rows)), size * len(rows)), _PAPER)
    for number, row in enumerate(rows):
        for column, image in enumerate(row):
            sheet.paste(image, (column * size, number * size))
    return sheet


def overlay_sheet(found: FactorizationData) -> Pillow.Image:
    """Lay the groups' colors over every image out, large, each over its name and first prediction; the key beside."""
    pictures = []
    for number in range(len(found.overlays)):
        first = found.predictions[number][:1] if found.predictions else []
        says = [f"{name} {probability:.0%}" for name, probability in first]
        pictures.append((" · ".join([image_name(found, number), *says]), _enlarged(open_overlay(found, number))))
    images, key = _grid(pictures, _OVERLAYS_ACROSS, _GAP), draw_key(found.groups, found.shares.tolist())
    sheet = Pillow.new("RGB", (images.width + key.width, max(images.height, key.height)), _PAPER)
    sheet.paste(images, (0, 0))
    sheet.paste(key, (images.width, 0))
    return sheet


def _enlarged(picture: Pillow.Image) -> Pillow.Image:
    scale = _OVERLAY / max(picture.size)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Pillow.Resampling.BICUBIC)


def _grid(pictures: Sequence[tuple[str, Pillow.Image]], most_across: int, gap: int = 0) -> Pillow.Image:
    """Lay pictures of one size out in rows, each over its text."""
    width, height = pictures[0][1].size if pictures else (1, 1)
    across = max(1, min(most_across, len(pictures)))
    down = -(-len(pictures) // across)
    size = (across * (width + gap) + gap, down * (height + _STRIP + gap) + gap)
    sheet = Pillow.new("RGB", size, _PAPER)
    canvas, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (text, picture) in enumerate(pictures):
        left, top = gap + number % across * (width + gap), gap + number // across * (height + _STRIP + gap)
        opacity = picture.getchannel("A") if picture.mode == "RGBA" else None
        sheet.paste(picture.convert("RGB"), (left, top), opacity)
        canvas.text((left + 2, top + height + 2), fitting(text, font, width - 2), fill=_INK, font=font)
    return sheet
