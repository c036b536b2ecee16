"""`striate index | examples`: natural images that excite each channel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate import IndexProgress, image_folder
from striate.cli.facts import examples_facts, print_json
from striate.cli.options import (
    PICTURES,
    Json,
    LayerName,
    LayerNames,
    ModelName,
    Server,
    asks_server,
    channel_ranges,
    console,
    output_to,
)
from striate.cli.streams import images_progress, print_skipped
from striate.show.sheets import example_sheet
from striate.show.tables import examples_table

app = typer.Typer()


@app.command()
@asks_server
def index(
    folder: Annotated[Path, typer.Argument(help="Of images; a subfolder is a class.", exists=True, file_okay=False)],
    layers: LayerNames,
    server: Server,
    model: ModelName = "",
    classes: Annotated[
        Path | None, typer.Option(help="A CSV file (file,class) instead of subfolders.", exists=True, dir_okay=False)
    ] = None,
    examples: Annotated[int, typer.Option(help="To keep of each channel.", min=1)] = 5,
    as_json: Json = False,
) -> None:
    """Run the images of a folder through a model once, and keep those that excite each channel of some layers most.

    Dictionaries then show natural examples beside icons, and the images' classes name channels that nobody named.
    """
    images = image_folder(folder, classes)
    skipped: list[tuple[str, str]] = []
    update = IndexProgress(0, [], {})
    with server.client() as client, images_progress() as progress:
        task = progress.add_task("images", total=len(images))
        for update in client.index_examples(images, layers, model=model, examples=examples):
            skipped += update.skipped
            progress.update(task, completed=update.indexed + len(skipped))
    if as_json:
        named = {layer.name: count for layer, count in update.layers.items()}
        print_json({"indexed": update.indexed, "skipped": dict(skipped), "named_channels": named})
        return
    print_skipped(skipped)
    for layer, count in update.layers.items():
        console.print(f"{layer.name}: {update.indexed} images; their classes name {count} of {layer.channels} channels")


@app.command()
@asks_server
def examples(
    layer: LayerName,
    server: Server,
    model: ModelName = "",
    channels: Annotated[str, typer.Option(help="Such as 0-15,40.", show_default="all")] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write a sheet, a channel a row, a .png.", callback=output_to(*PICTURES)),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which natural images and classes excite the channels of a layer."""
    with server.client() as client:
        found = client.examples(layer, channel_ranges(channels), model=model)
    if output:
        example_sheet(found).save(output)
    if as_json:
        print_json(examples_facts(found))
        return
    console.print(examples_table(found))
