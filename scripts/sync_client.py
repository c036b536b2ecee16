"""Generate client/striate/_sync, the blocking client, from client/striate/_async; with --check tell whether it is up to
date."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import unasync
from generated import stale_files, wants_check

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "client" / "striate" / "_async"
TARGET = ROOT / "client" / "striate" / "_sync"

HEADER = "# Generated from client/striate/_async/{name} by `make client`. Do not edit.\n"

REPLACEMENTS = {
    "_async": "_sync",
    "aclosing": "closing",
    "async_requests": "sync_requests",
    "open_async_channel": "open_sync_channel",
    "open_async_stream": "open_sync_stream",
}
"""Names besides those that unasync replaces by default, such as `AsyncIterator`."""


def generate(out: Path) -> None:
    """Write the package _sync to `out`, formatted as the project is."""
    sources = sorted(SOURCE.glob("*.py"))
    rule = unasync.Rule(fromdir=f"{SOURCE}/", todir=f"{out}/", additional_replacements=REPLACEMENTS)
    unasync.unasync_files([str(path) for path in sources], [rule])
    for source in sources:
        path = out / source.name
        path.write_text(_formatted(HEADER.format(name=source.name) + path.read_text(), TARGET / source.name))


def _formatted(text: str, path: Path) -> str:
    """Format a module in the project's style: without `async`, imports sort and lines break differently.

    Args:
        path: the module's final path, which decides the settings.
    """
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--quiet", "--select", "I", "--fix"], ["format", "--quiet"]):
        arguments = [*ruff, *command, "--stdin-filename", str(path), "-"]
        text = subprocess.run(arguments, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return text


def stale_modules() -> list[str]:
    """Return the names of the modules that differ from freshly generated ones."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        return stale_files(fresh, TARGET, TARGET.glob("*.py"))


def main() -> None:
    if wants_check(__doc__):
        stale = stale_modules()
        if stale:
            sys.exit(f"stale modules in client/striate/_sync: {', '.join(stale)}. Run `make client`.")
        return
    TARGET.mkdir(exist_ok=True)
    for path in TARGET.glob("*.py"):
        path.unlink()
    generate(TARGET)


if __name__ == "__main__":
    main()
