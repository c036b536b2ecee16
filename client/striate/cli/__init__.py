"""The command line. Exit status 0: done; 1: the server refused or failed, and one line says why; 2: wrong usage;
130: stopped by Ctrl-C."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import typer
from rich.markup import escape

from striate import StriateError, __version__
from striate.cli import bases, examples, explain, labels, monitors, status, tokens

app = typer.Typer(
    help="See what the layers of a vision network respond to.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.add_typer(status.app)
app.add_typer(status.models_app, name="models")
app.add_typer(explain.app)
app.add_typer(examples.app)
app.add_typer(labels.app, name="labels")
app.add_typer(bases.app, name="bases")
app.add_typer(monitors.app, name="monitor")
app.add_typer(tokens.app, name="token")


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"striate {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """See what the layers of a vision network respond to."""


def main() -> None:
    """Run the command line."""
    own = typer.main.get_group(app).commands
    if len(sys.argv) < 2 or sys.argv[1] not in (*own, "--version"):  # only then: loading the server takes seconds
        _add_commands(tuple(entry_points(group="striate.commands")))
    try:
        app()
    except OSError as error:
        print(f"striate: {_of_file(error)}", file=sys.stderr)
        sys.exit(1)
    except (StriateError, ValueError) as error:
        print(f"striate: {error}", file=sys.stderr)
        sys.exit(1)


def _of_file(error: OSError) -> str:
    """Return a sentence without Python's number of the error."""
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)


def _add_commands(entries: tuple[EntryPoint, ...]) -> None:
    """Add the server's commands, or, where it is not installed, commands that say how to install it."""
    for entry in entries:
        app.command(entry.name)(_loaded(entry))


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except ImportError as error:
        return _not_installed(entry.name, str(error))


def _not_installed(command: str, reason: str) -> Any:
    def say() -> None:
        raise StriateError(f"`striate {command}` needs the server: pip install 'striate[service]' ({reason})")

    say.__doc__ = escape("Not installed: pip install 'striate[service]'.")  # help is read as markup
    return say


if __name__ == "__main__":
    main()
