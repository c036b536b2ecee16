"""What notebooks show of a result. How it is drawn, `striate.show.notebook` says: results know nothing of drawing."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import singledispatch
from html import escape
from typing import Any


class Shown:
    """A result that a notebook shows as a table or as pictures."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return notebook_html(self)


@singledispatch
def notebook_html(result: Any) -> str:
    """Return HTML without scripts or references; unless a type has been registered, a row for each field."""
    if not is_dataclass(result):
        return f"<code>{escape(repr(result))}</code>"
    rows = ((field.name, repr(getattr(result, field.name))) for field in fields(result) if field.repr)
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"
