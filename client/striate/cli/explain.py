"""`striate activations | dictionary | factorize | flows | render | report`: what a model sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from striate import Neuron, StriateError
from striate.calls.options import Method
from striate.calls.semantic_dictionary import Attribution
from striate.cli.facts import groups_facts, neuron_facts, print_json
from striate.cli.options import (
    PICTURES,
    Classes,
    Every,
    Json,
    LayerName,
    LayerNames,
    ModelName,
    PageFile,
    Photo,
    Photos,
    Recipe,
    Server,
    SmoothMaxPool,
    Targets,
    Wait,
    asks_server,
    channel_ranges,
    console,
    output_to,
    progress_console,
    read_targets,
    row_and_column,
)
from striate.cli.report_layers import report_layers
from striate.cli.waiting import Result, write_page
from striate.show.sentences import more_groups
from striate.show.sheets import contact_sheet, overlay_sheet
from striate.show.tables import fidelity_sentences, flow_tables, groups_table, positions_table, predictions_text

app = typer.Typer()


@app.command()
@asks_server
def activations(
    photos: Photos,
    layers: LayerNames,
    server: Server,
    model: ModelName = "",
    reduce: Annotated[Literal["none", "mean", "max"], typer.Option(help="Over positions.")] = "none",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write an .npz file.", callback=output_to(".npz")),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what layers compute and what the model predicts."""
    with server.client() as client:
        found = client.activations(photos, layers, model=model, reduce=reduce)
    if output:
        np.savez(output, allow_pickle=False, **found)
    if as_json:
        shapes = {name: list(array.shape) for name, array in found.items()}
        print_json({"predictions": found.predictions, "shapes": shapes})
        return
    for photo, predictions in zip(photos, found.predictions, strict=True):
        console.print(f"{photo.name}: {predictions_text(predictions)}")
    for name, array in found.items():
        console.print(f"{name}: {array.dtype} {list(array.shape)}, {array.min():.3g} to {array.max():.3g}")


@app.command()
@asks_server
def dictionary(
    photo: Photo,
    layer: LayerName,
    server: Server,
    model: ModelName = "",
    neurons: Annotated[int, typer.Option(help="Per position.", min=1)] = 6,
    classes: Classes = None,
    targets: Targets = None,
    wait: Wait = True,
    every: Every = False,
    icons: Annotated[bool, typer.Option("--icons/--no-icons", help="Show icons.")] = True,
    examples: Annotated[
        int, typer.Option(help="Natural examples of each neuron, where `index` has seen any.", min=0)
    ] = 3,
    attribution: Annotated[Attribution, typer.Option(help="How effects are found.")] = "gradient_times_activation",
    smooth: SmoothMaxPool = True,
    recipe: Recipe = "",
    grid: Annotated[bool, typer.Option("--grid", help="Also an icon of the whole layer at each position.")] = False,
    output: PageFile = None,
    as_json: Json = False,
) -> None:
    """Say what the positions of a layer mean."""
    with server.client() as client:
        with console.status("asking"):
            found = client.semantic_dictionary(
                photo,
                layer,
                model=model,
                neurons=neurons,
                classes=classes,
                targets=read_targets(targets),
                icons=icons,
                examples=examples,
                attribution=attribution,
                smooth_max_pool=smooth and attribution == "gradient_times_activation",
                position_icons=grid,
                recipe=recipe,
            )
        if as_json:
            print_json(
                [
                    {"row": row, "column": column, "neurons": [neuron_facts(each) for each in found.at(row, column)]}
                    for row, column in found.positions.tolist()
                ]
            )
        else:
            console.print(f"{photo.name}: {predictions_text(found.predictions)}")
            console.print(positions_table(found))
        if output:
            write_page(client, photo.name, [found], output, wait=wait, every=every)


@app.command()
@asks_server
def factorize(
    photos: Photos,
    server: Server,
    layer: Annotated[str, typer.Option("--layer", "-l", help="A layer's path or alias; the basis knows its own.")] = "",
    model: ModelName = "",
    components: Annotated[
        int | None,
        typer.Option("--components", "-k", help="How many groups. 0: as many as it takes.", min=0, show_default="6"),
    ] = None,
    basis: Annotated[str, typer.Option(help="Look for the groups of this basis, instead of finding new ones.")] = "",
    save_as: Annotated[str, typer.Option(help="Keep the groups as a basis of this name.")] = "",
    method: Annotated[Method | None, typer.Option(help="How groups are found.", show_default="auto")] = None,
    classes: Classes = None,
    targets: Targets = None,
    smooth: SmoothMaxPool = True,
    recipe: Recipe = "",
    sobol: Annotated[int, typer.Option(help="Points for Sobol indices; 32 is usual. 0: none.", min=0)] = 0,
    wait: Wait = True,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write an interactive page, a .html; or a .png of all images with the key.",
            callback=output_to(".html", *PICTURES),
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find groups of neurons that are active together."""
    with server.client() as client:
        with console.status("asking"):
            found = client.factorize(
                photos,
                layer,
                model=model,
                components=components,
                basis=basis,
                save_as=save_as,
                method=method,
                classes=classes,
                targets=read_targets(targets),
                sobol_points=sobol,
                smooth_max_pool=smooth,
                recipe=recipe,
            )
        if as_json:
            print_json(groups_facts(found))
        else:
            console.print(groups_table(found))
            for sentence in fidelity_sentences(found):
                console.print(sentence)
            if more := more_groups(found):
                console.print(f"More is left out than explained; more groups explain more: -k {more}")
        if output and output.suffix.lower() in PICTURES:
            overlay_sheet(found).save(output)
            if wait and found.pending_icons:
                with progress_console.status("rendering the groups' icons"):
                    found.wait_for_icons()
                overlay_sheet(found).save(output)
        elif output:
            write_page(client, _title(photos), [found], output, wait=wait)


@app.command()
@asks_server
def flows(
    photos: Photos,
    layers: Annotated[
        list[str], typer.Option("--layer", "-l", help="A layer's path or alias. Repeat, in the order of computation.")
    ],
    server: Server,
    model: ModelName = "",
    components: Annotated[
        int | None,
        typer.Option("--components", "-k", help="Groups a layer. 0: as many as it takes.", min=0, show_default="6"),
    ] = None,
    classes: Classes = None,
    targets: Targets = None,
    smooth: SmoothMaxPool = True,
    recipe: Recipe = "",
    wait: Wait = True,
    output: PageFile = None,
    as_json: Json = False,
) -> None:
    """Find how the groups of one layer feed those of the next."""
    with server.client() as client:
        with console.status("asking"):
            found = client.factorize_layers(
                photos,
                layers,
                model=model,
                components=components,
                classes=classes,
                smooth_max_pool=smooth,
                targets=read_targets(targets),
                recipe=recipe,
            )
        if as_json:
            print_json(
                {
                    "layers": [groups_facts(each) for each in found.layers],
                    "flows": [flow.influence.sum(0).tolist() for flow in found.flows],
                }
            )
        else:
            for table in flow_tables(found):
                console.print(table)
        if output:
            write_page(client, _title(photos), [found, *found.layers], output, wait=wait)


@app.command()
@asks_server
def render(
    layer: LayerName,
    server: Server,
    model: ModelName = "",
    channels: Annotated[str, typer.Option(help="Such as 0-15,40.", show_default="all")] = "",
    recipe: Recipe = "",
    facets: Annotated[int, typer.Option(help="Pictures of each channel, unlike each other.", min=1, max=8)] = 1,
    objective: Annotated[
        str,
        typer.Option(
            help="channel, neuron (the channel at one position), or one that the server's operator has added."
        ),
    ] = "channel",
    position: Annotated[str, typer.Option(help="ROW,COLUMN of the neuron.", show_default="the middle")] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write a contact sheet, a .png.", callback=output_to(*PICTURES)),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="The server goes on when this command is stopped.")] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Render none: take back those that --detach has left of this layer.")
    ] = False,
) -> None:
    """Render a layer's icons ahead of time."""
    if cancel:
        if detach or output:
            raise typer.BadParameter("renders none: leave --detach and --output away.", param_hint="--cancel")
        with server.client() as client:
            cancelled = client.cancel_icons(layer, model=model)
        console.print(f"{cancelled} icons of {layer} were still to be rendered, and are not any more")
        return
    chosen, place = channel_ranges(channels), row_and_column(position)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    neurons: list[Neuron] = []
    with server.client() as client, Progress(*columns, console=progress_console) as progress:
        task = progress.add_task(f"icons of {layer}", total=None)
        for update in client.render_icons(
            layer,
            model=model,
            channels=chosen,
            recipe=recipe,
            facets=facets,
            objective=objective,
            position=place,
            icons=output is not None,
            detach=detach,
        ):
            neurons += update.neurons
            progress.update(task, completed=round(update.progress * update.total, 1), total=update.total)
    failed = [neuron.channel for neuron in neurons if neuron.icon_file.status == "failed"]
    if output:
        contact_sheet([neuron for neuron in neurons if neuron.icon]).save(output)
    if failed:
        raise StriateError(f"{len(failed)} icons could not be rendered (channels {failed}); the server's log says why")


@app.command()
@asks_server
def report(
    photo: Photo,
    server: Server,
    model: ModelName = "",
    layers: Annotated[
        list[str] | None, typer.Option("--layer", "-l", help="Repeat for several.", show_default="two that fit")
    ] = None,
    components: Annotated[
        int, typer.Option("--components", "-k", help="How many groups. 0: as many as it takes.", min=0)
    ] = 6,
    wait: Wait = True,
    every: Every = False,
    recipe: Recipe = "",
    output: Annotated[Path, typer.Option("--output", "-o", callback=output_to(".html"))] = Path("report.html"),
) -> None:
    """Write a page about a photo: what the model predicts, and what its layers see."""
    with server.client() as client:

        def results() -> Iterator[Result]:
            for name in layers or report_layers(client.model(model)):
                with progress_console.status(f"asking about {name}"):
                    groups = client.factorize(
                        photo, name, model=model, components=components, recipe=recipe, smooth_max_pool=True
                    )
                yield groups
                with progress_console.status(f"asking about {name}"):
                    words = client.semantic_dictionary(
                        photo, name, model=model, examples=3, recipe=recipe, smooth_max_pool=True
                    )
                yield words

        write_page(client, photo.name, results(), output, wait=wait, every=every)


def _title(photos: Sequence[Path]) -> str:
    """Return the title of a page about photographs."""
    first, *others = (photo.name for photo in photos)
    return f"{first} and {len(others)} more" if others else first
