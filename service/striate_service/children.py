"""What holds for every process that the server starts."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a new process: the server's own, and what is always so."""
    return os.environ | {"ORT_DISABLE_TELEMETRY": "1"} | variables  # which ONNX Runtime reads when it is imported


def end_with_server() -> None:
    """Have the kernel kill this process when the server has ended, whatever it computes. Only Linux can.

    Elsewhere it ends when it next writes to the server.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
