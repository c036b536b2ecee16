"""Each option of the client stands in one place: the dataclass of its call, with its documentation."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import striate
import typer
from striate import calls
from striate.cli.options import read_targets

# A call's method bears the name of its file, but for those that get or list what they are called by.
NAMES = {"get_basis": "basis", "get_examples": "examples", "list_bases": "bases", "list_labels": "labels"}


def _calls() -> dict[str, Any]:
    """Return each file's call by the name of the client's method."""
    found = {}
    for file in pkgutil.iter_modules(calls.__path__):
        module = importlib.import_module(f"striate.calls.{file.name}")
        own = [
            value
            for name, value in vars(module).items()
            if name.endswith("Call") and value.__module__ == module.__name__
        ]
        found |= {NAMES.get(file.name, file.name): call for call in own}
    return found


METHODS = _calls()
UNDOCUMENTED = {"name", "image"}  # they say all themselves


@pytest.mark.parametrize("client", [striate.Client, striate.aio.Client])
@pytest.mark.parametrize(("method", "call"), METHODS.items())
def test_a_methods_options_are_those_of_its_call(client: type, method: str, call: Any) -> None:
    parameters = dict(inspect.signature(getattr(client, method)).parameters)
    assert parameters.pop("timeout").default is None
    del parameters["self"]
    options = {field.name: field for field in fields(call)}
    assert parameters.keys() == options.keys()
    for name, parameter in parameters.items():
        assert parameter.annotation == options[name].type, name
        if parameter.default is not inspect.Parameter.empty:
            assert parameter.default == options[name].default, name


@pytest.mark.parametrize(("method", "call"), METHODS.items())
def test_a_method_hands_every_option_to_its_call(method: str, call: Any) -> None:
    source = inspect.getsource(getattr(striate.Client, method))
    assert [field.name for field in fields(call) if f"{field.name}={field.name}" not in source] == []


@pytest.mark.parametrize("call", METHODS.values())
def test_every_option_is_documented_once(call: Any) -> None:
    documented = [name for owner in call.__mro__ if is_dataclass(owner) for name in _documented(owner)]
    assert sorted({field.name for field in fields(call)} - UNDOCUMENTED - set(documented)) == []
    assert len(documented) == len(set(documented))


def test_there_are_calls() -> None:
    assert {"activations", "semantic_dictionary", "factorize", "labels"} < METHODS.keys()


@pytest.mark.parametrize(
    ("call", "options", "field"),
    [
        (METHODS["factorize"], {"components": -1}, "components"),
        (METHODS["activations"], {"images": [], "layers": "a", "channels": [0, -3]}, "channels"),
        (METHODS["activations"], {"images": [], "layers": "a", "positions": [(0, 2**32)]}, "positions"),
        (METHODS["render_icons"], {"layer": "a", "facets": -1}, "facets"),
    ],
)
def test_a_number_that_no_field_holds_is_refused_by_name(call: Any, options: dict[str, Any], field: str) -> None:
    with pytest.raises(striate.InvalidArgument, match=f"{field}: holds .*; it should be 0 to") as refused:
        call(**options)
    assert list(refused.value.violations) == [field]


def _documented(owner: type) -> list[str]:
    """Return the attributes of a class that a docstring follows."""
    (definition,) = ast.parse(inspect.getsource(owner)).body
    assert isinstance(definition, ast.ClassDef)
    return [
        statement.target.id
        for statement, following in zip(definition.body, definition.body[1:], strict=False)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
    ]


def test_targets_are_read_from_the_command_line() -> None:
    given = [
        "class:tabby, tabby cat",
        "output:3",
        "region:dog",
        "region:dog@0,0.1,0.5,1",
        "box:dog@0,0,1,0.5",
        "box:a@b",
    ]
    assert read_targets(given[:5]) == [
        striate.Class("tabby, tabby cat"),
        striate.Output(3),
        striate.Region("dog"),
        striate.Region("dog", box=(0, 0.1, 0.5, 1)),
        striate.Box("dog", near=(0, 0, 1, 0.5)),
    ]
    for wrong in (given[5], "output:three", "dog", "output:1@0,0,1,1", "region:dog@0,0,1"):
        with pytest.raises(typer.BadParameter, match="is no target"):
            read_targets([wrong])
