"""`striate bases ...`: groups of neurons that are kept under names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from striate import Basis, StriateError, image_folder
from striate.cli.facts import basis_facts, print_json
from striate.cli.options import Json, LayerName, ModelName, Server, asks_server, console, progress_console
from striate.cli.streams import print_skipped
from striate.show.tables import bases_table, basis_groups_table

app = typer.Typer(help="Groups of neurons that are kept under names.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A basis's name.")]


@app.command("list")
@asks_server
def list_bases(server: Server, model: ModelName = "", as_json: Json = False) -> None:
    """List bases."""
    with server.client() as client:
        found = client.bases(model=model)
    if as_json:
        print_json([basis_facts(basis) for basis in found])
        return
    console.print(bases_table(found))


@app.command()
@asks_server
def show(name: Name, server: Server, as_json: Json = False) -> None:
    """Show a basis's groups."""
    with server.client() as client:
        basis = client.basis(name, icons=False)
    if as_json:
        print_json(basis_facts(basis))
        return
    console.print(f"{basis.name}: {basis.components} groups of {basis.layer}, {basis.model.name}")
    console.print(f"  version {basis.model.version}")
    console.print(f"  found in {basis.image_count} images, of which they leave {basis.relative_error:.0%} unexplained")
    console.print(basis_groups_table(basis))


@app.command()
@asks_server
def build(
    folder: Annotated[Path, typer.Argument(help="Of images; with --on-server, a folder there.")],
    layer: LayerName,
    name: Annotated[str, typer.Option(help="What to save the groups as.")],
    server: Server,
    model: ModelName = "",
    components: Annotated[int, typer.Option("--components", "-k", help="How many groups.", min=1)] = 6,
    on_server: Annotated[
        bool, typer.Option("--on-server", help="The server reads the folder, where its setting image_folders allows.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Find groups in a folder of images, however many, and keep them as a basis."""
    images = [] if on_server else [each.image for each in image_folder(folder)]
    names = [str(path) for path in images]
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    skipped: list[tuple[str, str]] = []
    basis: Basis | None = None
    with server.client() as client, Progress(*columns, console=progress_console) as progress:
        reading = progress.add_task("images", total=len(images) or None)
        factorizing = progress.add_task("groups", total=1.0)
        for update in client.build_basis(
            name, images, layer, model=model, components=components, folder=str(folder) if on_server else ""
        ):
            skipped += [(which if on_server else names[int(which)], reason) for which, reason in update.skipped]
            progress.update(
                reading, completed=update.image_count + len(skipped), total=update.total_images or len(images)
            )
            progress.update(factorizing, completed=update.progress)
            basis = update.basis
    print_skipped(skipped)
    if basis is None:
        raise StriateError("the server ended the stream without a basis")
    if as_json:
        print_json(basis_facts(basis) | {"skipped": dict(skipped)})
        return
    console.print(
        f"{basis.name}: {basis.components} groups of {basis.layer}, found in {basis.image_count} images, of which they "
        f"leave {basis.relative_error:.0%} unexplained; {len(skipped)} images could not be read"
    )


@app.command()
@asks_server
def delete(name: Name, server: Server) -> None:
    """Delete a basis."""
    with server.client() as client:
        client.delete_basis(name)
