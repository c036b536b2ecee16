"""docs/first_look.ipynb, run cell by cell as a notebook runs it, and what results show of themselves there."""

from __future__ import annotations

import ast
import inspect
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import striate
from striate_service.local import LocalServer

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "first_look.ipynb"
_VOID = {"img"}


class _Shown(HTMLParser):
    """HTML whose elements are all closed; counts them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self._open: list[str] = []
        self.counts: dict[str, int] = {}
        self.text = ""
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        source = dict(attrs).get("src")
        assert source is None or source.startswith("data:image/webp;base64,")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _run(source: str, namespace: dict[str, Any]) -> Any:
    """Run a cell, and return what its last line shows: nothing after a semicolon."""
    *statements, last = ast.parse(source).body
    exec(compile(ast.Module(statements, []), "cell", "exec"), namespace)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)
        return None if source.rstrip().endswith(";") else value
    exec(compile(ast.Module([last], []), "cell", "exec"), namespace)
    return None


def test_the_notebook_runs_and_every_cell_shows_something(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRIATE_SERVER", server.target)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    namespace: dict[str, Any] = {}
    shown = [_run(cell, namespace) for cell in code]
    html = {type(each).__name__: _Shown(each._repr_html_()) for each in shown if each is not None}
    assert html["Model"].counts["tr"] == 1 + len(namespace["client"].model("parts").layers)
    assert "dog" in html["Activations"].text
    assert html["Factorization"].counts["img"] == 7  # the picture, and an icon a group
    assert html["Group"].counts["img"] == 1
    assert html["SemanticDictionary"].counts["img"] > 10
    assert html["Neuron"].counts["img"] == 1
    assert html["FactorizedLayers"].counts["table"] == 3
    assert len(shown) - len(html) == 1  # pages are written, and not shown
    assert (tmp_path / "groups.html").stat().st_size > 10_000


def test_every_public_result_shows_itself() -> None:
    public = [getattr(striate, name) for name in striate.__all__]
    results = [
        each
        for each in public
        if inspect.isclass(each) and each.__module__.startswith(("striate.results", "striate.show"))
    ]
    assert len(results) > 20
    assert all(hasattr(each, "_repr_html_") for each in results)


def test_names_are_shown_as_text() -> None:
    label = striate.Label("<script>x</script>", "person", author="<b>")
    neuron = striate.Neuron(3, label, striate.Icon("queued"), 1.0, {"<i>": 0.5})
    for result in (label, neuron):
        assert set(_Shown(result._repr_html_()).counts) <= {"div"}
    convergence = _Shown(striate.Fidelity(0.1, True)._repr_html_())
    assert "same_top_class" in convergence.text
