"""Which errors of torch and ONNX Runtime concern more than the task that met them: by type where there is one, else by
text."""

from __future__ import annotations

import torch

_OUT_OF_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",  # Linux
    "DefaultCPUAllocator: not enough memory",  # macOS, Windows
    "CUDA error: out of memory",  # of the driver, not of torch's own allocator
    "Failed to allocate memory for requested buffer",  # ONNX Runtime
    "std::bad_alloc",
)
_BROKEN_DEVICE = ("CUDA error", "device-side assert", "ECC error", "uncorrectable ECC")
_AcceleratorError = getattr(torch, "AcceleratorError", None)  # torch 2.8 and later


def is_out_of_memory(error: Exception) -> bool:
    """Whether a smaller batch may succeed."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or _says(error, _OUT_OF_MEMORY)


def breaks_device(error: Exception) -> bool:
    """Whether the device computes nothing more for this process (illegal access, device assert, ECC error)."""
    if is_out_of_memory(error):
        return False
    return (_AcceleratorError is not None and isinstance(error, _AcceleratorError)) or _says(error, _BROKEN_DEVICE)


def _says(error: Exception, texts: tuple[str, ...]) -> bool:
    return isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
