"""What becomes of a task: arrays, a refusal, or a failure that leaves the tasks beside it alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from striate_service.backends.local.messages import Failure, Refusal

Result = dict[str, NDArray[np.generic]] | Refusal | Failure
P = ParamSpec("P")
T = TypeVar("T")


class Refused(Exception):
    """The task cannot be done, and the caller can mend it."""

    def __init__(self, field: str, problem: str) -> None:
        self.refusal = Refusal(field, problem)


def attempt(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T | Refusal | Failure:
    """Return what `work` does, or why it does not."""
    try:
        return work(*arguments, **options)
    except Refused as refused:
        return refused.refusal
    except torch.OutOfMemoryError:
        raise  # smaller batches may do better
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}")
