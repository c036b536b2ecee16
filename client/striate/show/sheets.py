"""Pictures side by side: contact sheets of icons and of natural examples."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image as Pillow

from striate.results.examples import LayerExamples
from striate.results.neurons import Neuron

_ACROSS = 16  # pictures in a row, or as many fewer as it takes to keep each channel's facets in one row


def contact_sheet(neurons: Sequence[Neuron]) -> Pillow.Image:
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
        for column, image in enumerate(row):
            sheet.paste(image, (column * size, number * size))
    return sheet
