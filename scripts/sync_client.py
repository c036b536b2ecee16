"""Generate client/striate/_sync, the blocking client, from client/striate/_async; with --check tell whether it is up to
date."""

from __future__ import annotations

import argparse
import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "client" / "striate" / "_async"
TARGET = ROOT / "client" / "striate" / "_sync"

HEADER = "# Generated from client/striate/_async/{name} by `make client`. Do not edit.\n"

REPLACEMENTS = {
    "_async": "_sync",
    "async_requests": "sync_requests",
    "open_async_channel": "open_sync_channel",
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
        names = {path.name for path in fresh.iterdir()} | {path.name for path in TARGET.glob("*.py")}
        _, mismatch, missing = filecmp.cmpfiles(fresh, TARGET, names, shallow=False)
    return sorted(mismatch + missing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the modules are stale")
    if parser.parse_args().check:
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
