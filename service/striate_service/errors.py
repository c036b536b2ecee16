"""What can go wrong with a request, in words for the person who sent it.

RequestError
├── InvalidArgument     a field holds what it must not
├── NotFound            a model, layer, class, label, index or basis that is not there
├── AlreadyExists       a name that something else has
├── WrongWeights        a basis that belongs to other weights than it is to be used with
├── NotAllowed          the operator has not allowed it
├── QueueFull           the server has as much work as it takes on
├── QuotaExceeded       this caller has as much work in the queue as it may
├── DeadlineExceeded    the caller's deadline passed before the answer was there
├── Unavailable         no worker to do it: starting, draining
└── WorkFailed          the server's own fault

`servicers.interceptor` turns each into its gRPC status and google.rpc details, there and nowhere else.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class RequestError(Exception):
    """A request that gets no answer. Its text is what the caller reads."""


@dataclass
class InvalidArgument(RequestError):
    field: str
    """The request's field, as in the proto: "images[2]"."""
    problem: str
    """What is wrong and what would be right."""

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


@dataclass
class NotFound(RequestError):
    kind: str
    """ "model", "layer", "class", "label", "index of", "basis"."""
    name: str
    advice: str
    """What there is instead."""

    def __str__(self) -> str:
        return f"there is no {self.kind} {self.name!r}; {self.advice}"

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str], listing: str) -> NotFound:
        """Name the known names that are closest to `name`, or else where they are listed."""
        by_lower = {candidate.lower(): candidate for candidate in known}
        close = [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]
        return cls(kind, name, f"did you mean {' or '.join(map(repr, close))}?" if close else listing)


@dataclass
class AlreadyExists(RequestError):
    kind: str
    """ "basis", "model"."""
    name: str
    advice: str
    """What to do instead."""

    def __str__(self) -> str:
        return f"there is a {self.kind} {self.name!r} already; {self.advice}"


@dataclass
class WrongWeights(RequestError):
    basis: str
    problem: str
    """Which weights it belongs to, and which there are."""

    def __str__(self) -> str:
        return f"the basis {self.basis!r} {self.problem}"


@dataclass
class NotAllowed(RequestError):
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass
class QueueFull(RequestError):
    limit: int
    retry_after: float
    """Seconds."""

    def __str__(self) -> str:
        return f"the queue is full ({self.limit} requests wait); try again in {self.retry_after:.1f} s"


@dataclass
class QuotaExceeded(RequestError):
    caller: str
    limit: int
    retry_after: float
    """Seconds."""

    def __str__(self) -> str:
        return f"{self.caller} has {self.limit} requests in the queue, as many as one caller may; wait for an answer"


@dataclass
class Overloaded(RequestError):
    retry_after: float
    """Seconds."""

    def __str__(self) -> str:
        return (
            f"the answer would come after the deadline: about {self.retry_after:.1f} s of work wait before it; "
            "try again later or allow more time"
        )


@dataclass
class DeadlineExceeded(RequestError):
    def __str__(self) -> str:
        return "the deadline passed before the answer was ready; allow more time or send less work"


@dataclass
class Unavailable(RequestError):
    reason: str
    retry_after: float = 1.0
    """Seconds."""

    def __str__(self) -> str:
        return self.reason


@dataclass
class WorkFailed(RequestError):
    reason: str

    def __str__(self) -> str:
        return self.reason
