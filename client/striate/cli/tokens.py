"""`striate token new`: tokens for a server that asks for them."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Annotated

import typer

RIGHTS = ("read", "label", "models", "monitor")

app = typer.Typer(help="Tokens for a server that asks for them (docs/security.md).", no_args_is_help=True)


@app.callback()
def tokens() -> None:
    """Have `new` be a command of its own, though it is the only one."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Whom the token stands for.")],
    rights: Annotated[str, typer.Option(help="What it may do: read, label, models, monitor.")] = "read",
) -> None:
    """Make a token: print it, this once, to stderr, and the lines for the server's file of tokens to stdout.

    striate token new ann --rights read,label >> tokens.toml
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", name):
        raise typer.BadParameter(f"{name!r} is no name; 1 to 64 letters, digits, '.', '_', '@' and '-' make one")
    chosen = [right.strip() for right in rights.split(",")]
    for right in chosen:
        if right not in RIGHTS:
            raise typer.BadParameter(f"there is no right {right!r}; the rights are {', '.join(RIGHTS)}")
    token = f"striate_{secrets.token_urlsafe(32)}"
    typer.echo(f"The token of {name}, shown only this once:\n{token}", err=True)
    listed = ", ".join(f'"{right}"' for right in chosen)
    typer.echo(
        f'[[tokens]]\nname = "{name}"\nsha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\nrights = [{listed}]\n'
        "# requests_per_second = 20\n# images_per_second = 100\n# concurrent_requests = 8\n"
    )
