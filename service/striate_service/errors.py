"""Errors of requests, in words for the caller.

RequestError
├── InvalidArgument     a field has a value that is not allowed
│   └── ReplyTooLarge   the answer would be larger than a reply may be
├── NotFound            a model, layer, class, label, index or basis does not exist
├── AlreadyExists       the name is taken
├── WrongWeights        the basis belongs to other weights
├── FailedPrecondition  what is stored does not allow it, or not yet
├── Damaged             what is stored under that name cannot be read
├── LaterVersion        what is stored under that name was made by a later version of this server
├── CannotStore         the server's disk does not take it
├── Unauthenticated     the call has no token, or an unknown one
├── NotAllowed          the operator has not allowed it, or the token has no right to it
├── RequestTooLarge     the request is larger than one may be
├── QueueFull           the queue has no place left
├── TooManyCalls        as many calls are under way as there may be
├── TooManyBytes        the requests under way are too large together
├── TooManyIcons        as many icons are queued as may be, in all, by one caller, or with nobody waiting
├── QuotaExceeded       this caller has no place left in the queue
├── TokenQuotaExceeded  this caller's token allows no more at present
├── Overloaded          the answer would come after the deadline
├── NothingSent         the caller has not sent the request, or a stream's next message, in time
├── DeadlineExceeded    the caller's deadline passed before the answer was there
├── Unavailable         no worker can run it now
└── WorkFailed          the server's own fault

Only `servicers.statuses` maps errors to gRPC status and google.rpc details.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

logger = logging.getLogger(__name__)
_LONGEST_NAME = 256  # characters
_SHOWN = 64  # characters of what a caller sent, in a message


def shown(text: str) -> str:
    """Return what a caller sent, quoted and cut."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


class RequestError(Exception):
    """A request that cannot be answered. The caller reads its text."""


@dataclass
class InvalidArgument(RequestError):
    field: str
    """The request's field, as in the proto: "images[2]"."""
    problem: str
    """What is wrong, and what would be right."""

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


@dataclass
class ReplyTooLarge(InvalidArgument):
    """The field is the one that makes it so large."""


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
        """Return the error with the known names closest to `name` as advice, or else `listing`.

        A name longer than any real one is cut and not compared: comparing 1 MB takes 0.2 s.
        """
        if len(name) > _LONGEST_NAME:
            return cls(kind, f"{name[:_SHOWN]}…", f"it has {len(name)} characters; {listing}")
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
    """The weights that the basis belongs to, and those of the model."""

    def __str__(self) -> str:
        return f"the basis {self.basis!r} {self.problem}"


@dataclass
class FailedPrecondition(RequestError):
    subject: str
    """ "the monitor 'prod'"."""
    problem: str
    """What is missing, and what to do."""

    def __str__(self) -> str:
        return f"{self.subject} {self.problem}"


@dataclass
class Damaged(RequestError):
    what: str
    """ "the basis 'cats'"."""
    advice: str
    """What to do."""

    def __str__(self) -> str:
        return f"{self.what} is damaged; {self.advice}"


@dataclass
class LaterVersion(RequestError):
    what: str
    """ "the basis 'cats'"."""

    def __str__(self) -> str:
        return f"{self.what} was made by a later version of striate; update this server, or make it anew here"


@dataclass
class CannotStore(RequestError):
    what: str
    """ "the basis 'cats'"."""
    reason: str
    """The operating system's words, such as "No space left on device"."""

    def __str__(self) -> str:
        return f"{self.what} cannot be stored: {self.reason} on the server; its operator can help"


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Raise an error of the disk as `CannotStore`."""
    try:
        yield
    except OSError as error:
        logger.error("%s cannot be stored: %s", what, error)
        raise CannotStore(what, error.strerror or type(error).__name__) from error


@dataclass
class Unauthenticated(RequestError):
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass
class NotAllowed(RequestError):
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass
class RequestTooLarge(RequestError):
    size: int
    limit: int
    """In bytes."""

    def __str__(self) -> str:
        return (
            f"the request, of {self.size / 2**20:.1f} MiB, is a message larger than max_message_bytes of this server, "
            f"{self.limit / 2**20:.0f} MiB; send less at a time"
        )


@dataclass
class QueueFull(RequestError):
    limit: int
    retry_after: float
    """Seconds."""

    def __str__(self) -> str:
        return f"the queue is full ({self.limit} requests wait); try again in {self.retry_after:.1f} s"


@dataclass
class TooManyCalls(RequestError):
    limit: int
    retry_after: float = 1.0
    """Seconds."""

    def __str__(self) -> str:
        return (
            f"{self.limit} calls are under way, as many as this server takes at a time; "
            f"try again in {self.retry_after:.1f} s"
        )


@dataclass
class TooManyBytes(RequestError):
    held: int
    """Bytes of the requests under way."""
    limit: int
    retry_after: float = 1.0
    """Seconds."""

    def __str__(self) -> str:
        return (
            f"the requests under way hold {self.held / 2**20:.0f} MiB, and this server takes "
            f"{self.limit / 2**20:.0f} MiB at a time; try again in {self.retry_after:.1f} s, or send smaller images"
        )


@dataclass
class TooManyIcons(RequestError):
    reason: str
    """Which limit, and what to do."""
    retry_after: float = 60.0
    """Seconds. Icons take a second or more each on a CPU."""

    def __str__(self) -> str:
        return self.reason


@dataclass
class QuotaExceeded(RequestError):
    caller: str
    limit: int
    retry_after: float
    """Seconds."""

    def __str__(self) -> str:
        return f"{self.caller} has {self.limit} requests in the queue, as many as one caller may; wait for an answer"


@dataclass
class TokenQuotaExceeded(RequestError):
    caller: str
    quota: str
    """ "10 requests a second"."""
    retry_after: float
    """Seconds."""

    def __str__(self) -> str:
        return f"the token of {self.caller} allows {self.quota}; try again in {self.retry_after:.1f} s"


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
class NothingSent(RequestError):
    patience: float
    """Seconds."""

    def __str__(self) -> str:
        return f"no whole message came for {self.patience:.0f} s; send each sooner, or in smaller parts"


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
