"""Where compiled loops (numba) are kept from one process to the next."""

from __future__ import annotations

import os
from pathlib import Path

import striate_service

COMPILED = "compiled"
"""The folder in STRIATE_HOME."""
_PACKAGE = Path(striate_service.__file__).parent


def cache_variables(folder: Path) -> dict[str, str]:
    """Return the environment of a process that compiles: it keeps the results in the package, or else in `folder`."""
    if "NUMBA_CACHE_DIR" in os.environ or os.access(_PACKAGE, os.W_OK):
        return {}
    return {"NUMBA_CACHE_DIR": str(folder)}
