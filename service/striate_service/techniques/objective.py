"""Objectives of icons: values that add and multiply, each with a canonical text under which its icon is stored.

    Channel(12) + 0.5 * Neuron(3, 2, 4)      excite both
    Channel(12) - Channel(5)                 excite one and silence the other

As in Lucid (optvis/objectives.py). feature_visualization/ holds the functions of activations that they stand for. This
module imports no torch: the server's process makes these values and sends them to workers.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import cast

import numpy as np

MAX_TERMS = 16  # of a sum: each costs a pass over the layer's activations, and a picture can hardly show more
_LARGEST_WEIGHT = 1e6  # the optimizer squares gradients, which should stay within float32
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class _Summand:
    """Base of objectives: adds and multiplies. Equal terms are joined, and the order of terms does not matter."""

    __array_ufunc__ = None  # so that numpy's scalars call __rmul__

    @property
    def terms(self) -> tuple[tuple[float, Term], ...]:
        """Weights and the terms that they multiply."""
        return ((1.0, cast(Term, self)),)

    def __add__(self, other: _Summand) -> Single:
        if not isinstance(other, _Summand):
            return NotImplemented
        return _sum((*self.terms, *other.terms))

    def __radd__(self, zero: float) -> Single:
        if zero != 0:
            return NotImplemented
        return _sum(self.terms)  # for `sum(objectives)`, which begins with 0

    def __sub__(self, other: _Summand) -> Single:
        if not isinstance(other, _Summand):
            return NotImplemented
        return self + -other

    def __neg__(self) -> Single:
        return self * -1

    def __mul__(self, weight: float) -> Single:
        if not isinstance(weight, Real):
            return NotImplemented
        return _sum((float(weight) * each, term) for each, term in self.terms)

    __rmul__ = __mul__


@dataclass(frozen=True)
class Channel(_Summand):
    """Excite one channel everywhere, and other channels as little as possible."""

    channel: int

    @property
    def text(self) -> str:
        """Its canonical name, by which icons are stored."""
        return f"channel:{self.channel}"


@dataclass(frozen=True)
class Neuron(_Summand):
    """Excite one channel at one position."""

    channel: int
    row: int
    column: int

    @property
    def text(self) -> str:
        """Its canonical name, by which icons are stored."""
        return f"neuron:{self.channel}:{self.row}:{self.column}"


@dataclass(frozen=True)
class Direction(_Summand):
    """Excite a direction in the space of channels everywhere."""

    components: tuple[float, ...] = field(repr=False)
    """[C]"""

    @property
    def text(self) -> str:
        """Its canonical name, by which icons are stored."""
        return f"direction:{hashlib.sha256(np.array(self.components, '<f4').tobytes()).hexdigest()}"


@dataclass(frozen=True, init=False)
class Named(_Summand):
    """Raise a score that a registered function computes (feature_visualization/registry.py)."""

    name: str
    version: int
    """Of the function's code: each version has icons of its own."""
    arguments: tuple[tuple[str, float], ...]
    """Names and values, in alphabetical order."""

    def __init__(self, name: str, *, version: int = 1, **arguments: float) -> None:
        """Name a function and its arguments: `Named("center", channel=12)`.

        Raises:
            ValueError: the name is not allowed, or an argument is not a finite number.
        """
        check_name(name)
        for key, value in arguments.items():
            if not isinstance(value, Real) or not math.isfinite(value):
                raise ValueError(f"{name}: {key} is {value!r}; arguments are finite numbers")
        numbers = {key: int(value) if isinstance(value, Integral) else float(value) for key, value in arguments.items()}
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "version", int(version))
        object.__setattr__(self, "arguments", tuple(sorted(numbers.items())))

    @property
    def text(self) -> str:
        """Its canonical name, by which icons are stored."""
        return ":".join(
            ("named", self.name, f"version={self.version}", *(f"{key}={value!r}" for key, value in self.arguments))
        )


Directed = Channel | Neuron | Direction
"""A direction in the space of channels, everywhere or at one position."""
Term = Directed | Named
"""A summand of a `Sum`."""


@dataclass(frozen=True)
class Sum(_Summand):
    """Raise a weighted sum of scores. Made by adding and multiplying objectives."""

    weighted: tuple[tuple[float, Term], ...]
    """Weights and distinct terms, in the order of the terms' texts."""

    @property
    def terms(self) -> tuple[tuple[float, Term], ...]:
        return self.weighted

    @property
    def text(self) -> str:
        """Its canonical name, by which icons are stored."""
        return "+".join(f"{weight!r}*{term.text}" for weight, term in self.weighted)


Single = Term | Sum
"""The objective of one picture."""


def _sum(weighted: Iterable[tuple[float, Term]]) -> Single:
    """Return the canonical form of a weighted sum; a single term of weight 1 is returned as it is.

    Raises:
        ValueError: all weights cancel, there are too many terms, or a weight is not finite or too large.
    """
    weights: dict[str, float] = {}
    by_text: dict[str, Term] = {}
    for weight, term in weighted:
        text = term.text
        by_text[text] = term
        weights[text] = weights.get(text, 0.0) + weight
    terms = tuple((weights[text], by_text[text]) for text in sorted(by_text) if weights[text] != 0)
    if not terms:
        raise ValueError("a sum whose weights are all 0 shows nothing")
    if len(terms) > MAX_TERMS:
        raise ValueError(f"a sum of {len(terms)} terms; at most {MAX_TERMS} are allowed")
    if any(not abs(weight) <= _LARGEST_WEIGHT for weight, _ in terms):
        raise ValueError(f"weights should be finite and at most {_LARGEST_WEIGHT:.0f}, either sign")
    ((weight, only), *others) = terms
    return only if weight == 1 and not others else Sum(terms)


@dataclass(frozen=True)
class Facets:
    """Several different pictures of one objective (Olah, Mordvintsev and Schubert 2017)."""

    subject: Single
    """The objective of every picture."""
    count: int
    diversity: float = 0.5
    """Weight of a picture's difference from the others, relative to its score for `subject`. The difference is 1 minus
    the mean cosine similarity of their Gram matrices."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The canonical names of the pictures."""
        return tuple(
            f"{self.subject.text},facet={number},of={self.count},diversity={self.diversity}"
            for number in range(self.count)
        )


Objective = Single | Facets


def singles(objectives: Iterable[Objective]) -> list[Single]:
    """Return the objective of each picture: one for an objective, `count` for facets."""
    return [
        single
        for objective in objectives
        for single in ([objective.subject] * objective.count if isinstance(objective, Facets) else [objective])
    ]


def picture_texts(objective: Objective) -> tuple[str, ...]:
    """Return the canonical name of each picture that an objective asks for."""
    return objective.texts if isinstance(objective, Facets) else (objective.text,)


def check_name(name: str) -> None:
    """Check the name of a registered objective.

    Raises:
        ValueError: the name is too long, or has characters that are not allowed.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name an objective: start with a letter, and use at most 64 letters, digits, '_', '.', '-'"
        )


@dataclass(frozen=True)
class Signature:
    """The name and parameters of a registered objective, as a worker reports them to the server."""

    name: str
    version: int
    parameters: tuple[str, ...]
    """Either "channel" alone, or "channel", "row" and "column"."""

    @property
    def takes_position(self) -> bool:
        """Whether it shows a channel at one position."""
        return "row" in self.parameters

    def at(self, channel: int, row: int, column: int) -> Named:
        """Return the objective for a channel and, where it takes one, a position."""
        given = {"channel": channel, "row": row, "column": column}
        return Named(self.name, version=self.version, **{each: given[each] for each in self.parameters})
