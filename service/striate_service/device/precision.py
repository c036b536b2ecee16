"""What each precision of the settings means to torch."""

from __future__ import annotations

import torch

from striate_service.config import Precision


def set_tf32(precision: Precision) -> None:
    """Let GPUs round the factors of float32 products to 10 bits of mantissa (TF32) only where the operator asks for it.

    torch allows it in convolutions by itself, which is an error of 1e-3 where callers were told float32.
    """
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def autocast(device: str, precision: Precision) -> torch.autocast:
    """Return the context in which forwards of a precision run."""
    lower = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)
    return torch.autocast(device, lower, enabled=lower is not None)
