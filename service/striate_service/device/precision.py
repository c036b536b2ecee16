"""Apply the setting `precision` to torch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from striate_service.config import Precision


def set_tf32(precision: Precision) -> None:
    """Let GPUs round the factors of float32 products to 10 bits of mantissa (TF32) only if the operator chose it.

    By default torch allows it in convolutions, which causes an error of 1e-3 where callers expect float32.
    """
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def autocast(device: str, precision: Precision) -> AbstractContextManager[object]:
    """Return the context for forward passes of a precision."""
    lower = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)
    return torch.autocast(device, lower) if lower else nullcontext()
