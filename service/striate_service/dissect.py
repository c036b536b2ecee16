"""`striate dissect`: name a model's channels by images and masks that show where concepts are.

    FOLDER/images/NAME.jpg          (or .png, .webp, ...)
    FOLDER/masks/CONCEPT/NAME.png   the concept is where the mask is not black; no file: not in that image

The server computes activations; this command compares them with the masks, which never leave this machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from striate import Client, StriateError
from striate.cli.options import Json, LayerNames, ModelName, Server, asks_server, console, progress_console
from striate.results.images import View
from striate.results.models import Layer, Model
from torch import Tensor

from striate_service.techniques.dissection import LEAST_IOU, Dissection, dissect

_BATCH = 16  # images per call
_LISTED = 20  # detectors per table


@asks_server
def command(
    folder: Annotated[Path, typer.Argument(help="With images/ and masks/CONCEPT/.", exists=True, file_okay=False)],
    layers: LayerNames,
    server: Server,
    model: ModelName = "",
    least: Annotated[float, typer.Option(help="The IoU from which on a channel detects a concept.")] = LEAST_IOU,
    save: Annotated[bool, typer.Option("--save", help="Name the detectors; names by people are kept.")] = False,
    as_json: Json = False,
) -> None:
    """Find which concept each channel of a layer detects, and name it (network dissection, Bau et al. 2017).

    FOLDER/images/NAME.jpg is an image; FOLDER/masks/CONCEPT/NAME.png is white where the concept shows in it.
    """
    masked = MaskedImages(folder)
    with server.client() as client:
        described = client.model(model)
        dissections = dissect_layers(client, described, masked, layers)
        if save:
            for layer, dissection in dissections.items():
                _save(client, described, layer, dissection, least)
    if as_json:
        print(
            json.dumps([fact for layer in dissections for fact in _facts(layer, dissections[layer], least)], indent=2)
        )
        return
    for layer, dissection in dissections.items():
        console.print(_table(layer, dissection, least))


class MaskedImages:
    """Images and their masks of concepts, in the layout above.

    Raises:
        FileNotFoundError: a folder is missing or empty.
        ValueError: two images have the same name, or a mask has no image.
    """

    def __init__(self, folder: Path) -> None:
        self.images = _files(folder / "images")
        self._masks = {concept.name: _files(concept) for concept in _folders(folder / "masks")}
        for masks in self._masks.values():
            if strangers := masks.keys() - self.images.keys():
                raise ValueError(
                    f"{masks[min(strangers)]} is a mask of no image: {folder / 'images'} has no {min(strangers)!r}"
                )

    @property
    def concepts(self) -> list[str]:
        return list(self._masks)

    def masks(self, name: str, view: View, size: tuple[int, int]) -> Tensor:
        """Return the concepts' masks in the part of an image that the network saw: bool [concepts, *size].

        Raises:
            ValueError: a mask is unreadable, or differs in size from its image.
        """
        shown = torch.zeros(len(self._masks), *size, dtype=torch.bool)
        for mask, files in zip(shown, self._masks.values(), strict=True):
            if name in files:
                seen = _mask(files[name], view).resize(size[::-1], Image.Resampling.NEAREST, box=view.crop)
                mask[:] = torch.from_numpy(np.asarray(seen))
        return shown


def dissect_layers(
    client: Client, model: Model, masked: MaskedImages, layers: Sequence[str]
) -> dict[Layer, Dissection]:
    """Request some layers for all images from the server, and match their channels with the masks' concepts.

    It holds the activations in half precision: 2 bytes for each channel, position and image.

    Raises:
        StriateError: the server refuses, or a layer holds no map.
    """
    names, paths = list(masked.images), list(masked.images.values())
    activations: dict[Layer, list[Tensor]] = {}
    views: list[list[View]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=progress_console) as progress:
        task = progress.add_task("images", total=len(paths))
        for first in range(0, len(paths), _BATCH):
            chunk = paths[first : first + _BATCH]
            answer = client.activations(chunk, layers, model=model.name, dtype="float16", classes=0)
            for layer, maps in zip(answer.layers, answer.values(), strict=True):
                if not layer.is_map:
                    raise StriateError(f"{layer.name} {list(layer.shape)} holds no map of positions and channels")
                activations.setdefault(layer, []).append(torch.from_numpy(layer.to_map(maps)))
            views.append(answer.views)
            progress.advance(task, len(chunk))
    batches = _MaskBatches(masked, names, views, model.input_size)
    return {layer: dissect(maps, batches, masked.concepts) for layer, maps in activations.items()}


@dataclass(frozen=True)
class _MaskBatches:
    """Masks in batches, read from disk again for each layer: all at once might not fit in memory."""

    masked: MaskedImages
    names: list[str]
    views: list[list[View]]
    size: tuple[int, int]

    def __iter__(self) -> Iterator[Tensor]:
        names = iter(self.names)
        for views in self.views:
            yield torch.stack([self.masked.masks(next(names), view, self.size) for view in views])


def _save(client: Client, model: Model, layer: Layer, dissection: Dissection, least: float) -> None:
    by_people = {label.channel for label in client.labels(layer.name, model=model.name) if label.source == "person"}
    for detector in dissection.detectors(least):
        if detector.channel not in by_people:
            client.set_label(
                layer.name,
                detector.channel,
                detector.concept,
                model=model.name,
                source="dissection",
                score=detector.iou,
                author="striate dissect",
            )


def _facts(layer: Layer, dissection: Dissection, least: float) -> list[dict[str, object]]:
    return [
        {"layer": layer.name, "channel": d.channel, "concept": d.concept, "iou": d.iou}
        for d in dissection.detectors(least)
    ]


def _table(layer: Layer, dissection: Dissection, least: float) -> Table:
    found = dissection.detectors(least)
    channels, concepts, asked = layer.channels, len({d.concept for d in found}), len(dissection.concepts)
    title = f"{layer.name}: {len(found)} of {channels} channels detect {concepts} of {asked} concepts"
    table = Table("channel", "concept", "IoU", title=title, box=None, padding=(0, 2), title_justify="left")
    for detector in found[:_LISTED]:
        table.add_row(str(detector.channel), detector.concept, f"{detector.iou:.2f}")
    if len(found) > _LISTED:
        table.add_row("...", f"and {len(found) - _LISTED} more (--json lists all)", "")
    return table


def _folders(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not found:
        raise FileNotFoundError(f"{folder} should hold a folder of masks for each concept")
    return found


def _files(folder: Path) -> dict[str, Path]:
    """Return a folder's image files by their names without suffix."""
    suffixes = Image.registered_extensions()
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in suffixes:
            if path.stem in found:
                raise ValueError(f"{path} and {found[path.stem]} have the same name: masks could be of either")
            found[path.stem] = path
    if not found:
        raise FileNotFoundError(f"{folder} should hold images")
    return found


def _mask(path: Path, view: View) -> Image.Image:
    """Read a mask upright: one bit per pixel, set where it is not black."""
    try:
        with Image.open(path) as file:
            mask = ImageOps.exif_transpose(file)
            mask = Image.fromarray(np.asarray(mask.convert("I" if mask.mode.startswith("I") else "L")) > 0)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} is no readable image: {error}") from error
    if mask.size != (view.width, view.height):
        raise ValueError(
            f"{path} is {mask.width} x {mask.height}, but its image is {view.width} x {view.height} pixels: "
            "a mask should be as large as its image"
        )
    return mask
