"""What the scripts that write generated files share: writing them, or with --check telling whether they are stale."""

from __future__ import annotations

import argparse
import filecmp
import sys
from collections.abc import Iterable
from pathlib import Path


def write_or_check(page: Path, text: str, description: str | None) -> None:
    """Write a page of docs/; with --check on the command line change nothing, and exit with 1 if it is stale."""
    if not wants_check(description):
        page.write_text(text)
    elif not page.is_file() or page.read_text() != text:
        sys.exit(f"docs/{page.name} is stale. Run `make docs`.")


def wants_check(description: str | None) -> bool:
    """Read the command line, whose only option is --check."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when something is stale")
    check: bool = parser.parse_args().check
    return check


def stale_files(fresh: Path, committed: Path, committed_files: Iterable[Path]) -> list[str]:
    """Return the names of the files in two folders that differ, or stand in one of them only."""
    names = {path.name for path in fresh.iterdir()} | {path.name for path in committed_files}
    _, mismatch, missing = filecmp.cmpfiles(fresh, committed, names, shallow=False)
    return sorted(mismatch + missing)
