"""Outcomes of a task: its result, a refusal, or a failure that does not affect other tasks of the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Refusal:
    """The task cannot be done, and the caller can fix the request."""

    field: str
    """The request's field."""
    problem: str
    """What is wrong, and what would be right."""


@dataclass(frozen=True)
class Failure:
    """The task cannot be done, and it is not the caller's fault."""

    reason: str


class Refused(Exception):
    """Raised by a technique: the task cannot be done, and the caller can fix the request."""

    def __init__(self, field: str, problem: str) -> None:
        self.refusal = Refusal(field, problem)


def outcome_of(work: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R | Refusal | Failure:
    """Return what `work` returns, or why it failed.

    What concerns the whole batch is raised: a lack of memory, since a smaller batch may fit, and a broken device.
    """
    # Here, since the server's process reads outcomes without torch.
    from striate_service.techniques.torch_errors import breaks_device, is_out_of_memory

    try:
        return work(*arguments, **options)
    except Refused as refused:
        return refused.refusal
    except Exception as error:
        if is_out_of_memory(error) or breaks_device(error):
            raise
        return Failure(f"{type(error).__name__}: {error}")
