"""`striate monitor ...`: what a network sees in traffic, beside a reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from striate import Client, LabelledImage, ObservedImage, image_folder, read_profile, write_profile
from striate.calls.monitors import as_observed
from striate.cli.facts import drift_facts, monitor_facts, print_json
from striate.cli.options import Json, ModelName, Server, asks_server, console
from striate.cli.streams import images_progress, print_skipped
from striate.show.tables import drift_table, monitors_table

app = typer.Typer(help="What a network sees in traffic, beside a reference.", no_args_is_help=True)

_DRIFTED = 3  # the exit status of `drift --fail`

Name = Annotated[str, typer.Argument(help="A monitor's name.")]
Images = Annotated[Path, typer.Argument(help="Of images.", exists=True, file_okay=False)]


@app.command()
@asks_server
def create(
    name: Name,
    server: Server,
    layers: Annotated[list[str] | None, typer.Option("--layer", "-l", help="Whose channels are watched.")] = None,
    bases: Annotated[list[str] | None, typer.Option("--basis", help="Whose groups are watched.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="A folder of images without drift.", exists=True, file_okay=False)
    ] = None,
    first: Annotated[int, typer.Option(help="Instead: so many first images of traffic are the reference.")] = 0,
    window: Annotated[int, typer.Option(help="How many of the newest images are compared.")] = 500,
    pictures: Annotated[bool, typer.Option(help="Keep small pictures of images.")] = True,
    model: ModelName = "",
    as_json: Json = False,
) -> None:
    """Make a monitor, and send it its reference."""
    if not layers and not bases:
        raise typer.BadParameter("name at least one --layer or --basis to watch")
    if (reference is None) == (not first):
        raise typer.BadParameter("give the reference by --reference FOLDER or --first NUMBER")
    images = image_folder(reference) if reference else []
    with server.client() as client:
        client.create_monitor(
            name, layers or (), bases=bases or (), reference=first, window=window, pictures=pictures, model=model
        )
        if images:
            _observe(client, name, images, reference=True, quiet=as_json)
        monitor = client.monitor(name)
    if as_json:
        print_json(monitor_facts(monitor))
        return
    how = f"of {monitor.reference_images} images" if images else f"is the first {first} images that it sees"
    console.print(f"{name}: made; its reference {how}. `striate monitor observe {name} FOLDER` shows it images.")


@app.command()
@asks_server
def observe(
    name: Name,
    folder: Images,
    server: Server,
    slice_name: Annotated[str, typer.Option("--slice", help="What to tell these images apart by.")] = "",
) -> None:
    """Let a monitor see the images of a folder. An image that it has seen, by its name, is not counted again."""
    images = [replace(as_observed(each), slice=slice_name) for each in image_folder(folder)]
    with server.client() as client:
        stored, repeated = _observe(client, name, images, reference=False)
    console.print(f"{name}: {stored} images seen, {repeated} of them before")


@app.command()
@asks_server
def drift(
    name: Name,
    server: Server,
    items: Annotated[int, typer.Option(help="How many channels and groups.")] = 10,
    slice_name: Annotated[str, typer.Option("--slice", help="Only images of this slice.")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a page (.html).")] = None,
    fail: Annotated[bool, typer.Option("--fail", help="Exit with status 3 where anything has drifted.")] = False,
    as_json: Json = False,
) -> None:
    """Say what the network sees more or less of than in the reference."""
    if output and output.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter(f"{output} should end in .html")
    with server.client() as client:
        found = client.drift(name, items=items, slice=slice_name, icons=output is not None)
    if output:
        found.to_html(output)
    if as_json:
        print_json(drift_facts(found))
    else:
        few = "" if found.enough else " These are few: a change of medium size might go unseen."
        console.print(f"{found.images} images beside {found.reference_images} of the reference.{few}")
        console.print("Something has drifted." if found.significant else "Nothing has, by more than chance explains.")
        console.print(drift_table(found, items))
        if output:
            console.print(f"wrote {output}")
    if fail and found.significant:
        raise typer.Exit(_DRIFTED)


@app.command("list")
@asks_server
def list_monitors(server: Server, as_json: Json = False) -> None:
    """List monitors."""
    with server.client() as client:
        found = client.list_monitors()
    if as_json:
        print_json([monitor_facts(each) for each in found])
        return
    console.print(monitors_table(found))


@app.command("export")
@asks_server
def export_profile(
    name: Name,
    output: Annotated[Path, typer.Argument(help="The file to write.", dir_okay=False)],
    server: Server,
    pictures: Annotated[bool, typer.Option(help="Write small pictures of images too.")] = True,
) -> None:
    """Write what a monitor keeps to a file, to be the reference of another or to be merged with it."""
    with server.client() as client:
        profile = client.export_profile(name, pictures=pictures)
    write_profile(output, profile)
    console.print(f"wrote {output}: {profile.reference_images} images of the reference, {profile.window_images} newer")


@app.command("import")
@asks_server
def import_profiles(
    name: Name,
    files: Annotated[list[Path], typer.Argument(help="As `export` writes them.", exists=True, dir_okay=False)],
    server: Server,
    reference_only: Annotated[bool, typer.Option("--reference-only", help="Take their references alone.")] = False,
) -> None:
    """Let a monitor take in what others have kept. An image that it knows is not counted again."""
    profiles = [read_profile(file) for file in files]
    with server.client() as client:
        added = sum(client.import_profile(name, each, reference_only=reference_only) for each in profiles)
    console.print(f"{name}: {added} images taken in")


@app.command()
@asks_server
def delete(name: Name, server: Server) -> None:
    """Delete a monitor with all that it keeps."""
    with server.client() as client:
        client.delete_monitor(name)


def _observe(
    client: Client,
    name: str,
    images: list[LabelledImage] | list[ObservedImage],
    *,
    reference: bool,
    quiet: bool = False,
) -> tuple[int, int]:
    """Send images with a progress bar; return how many are stored, and how many were before."""
    skipped: list[tuple[str, str]] = []
    stored = repeated = 0
    with images_progress() as progress:
        task = progress.add_task("images", total=len(images))
        for update in client.observe_images(name, images, reference=reference):
            skipped += update.skipped
            stored, repeated = update.stored, update.repeated
            progress.update(task, completed=stored + len(skipped))
    if not quiet:
        print_skipped(skipped)
    return stored, repeated
