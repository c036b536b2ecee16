"""Generate docs/reliability.md from the tests' own marks, or with --check tell whether it is up to date.

A test promises what `@pytest.mark.promise("fault", "what is promised", seen="what happened before")` above it says.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from generated import write_or_check

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"


def promises() -> Iterator[tuple[str, str, str, str, str]]:
    """Yield each promise: the fault, what was seen before, what is promised, the test's file and its name."""
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for test in ast.parse(file.read_text()).body:
            if not isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for mark in test.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.promise":
                    fault, promised = map(ast.literal_eval, mark.args)
                    seen = "".join(ast.literal_eval(word.value) for word in mark.keywords)
                    yield fault, seen, promised, file.relative_to(ROOT).as_posix(), test.name


def render() -> str:
    """Return the page."""
    head = [
        "# Reliability",
        "",
        "What goes wrong, what was seen before it was mended (where that was noted), what is promised now, and the",
        "test that holds us to it, most of them on a real server.",
        "Written by `make docs` from the tests' marks; do not edit.",
        "",
        "| fault | seen | promised | test |",
        "|---|---|---|---|",
    ]
    rows = (
        f"| {fault} | {seen} | {promised} | [{name}](../{file}) |" for fault, seen, promised, file, name in promises()
    )
    return "\n".join([*head, *rows]) + "\n"


if __name__ == "__main__":
    write_or_check(PAGE, render(), __doc__)
