"""The cache of compiled kernels (numba) that processes share."""

from __future__ import annotations

import os
from pathlib import Path

import striate_service

COMPILED = "compiled"
"""The folder in STRIATE_HOME."""
_PACKAGE = Path(striate_service.__file__).parent


def cache_variables(folder: Path) -> dict[str, str]:
    """Return environment variables that put the cache in `folder` where the package's folder is not writable."""
    if "NUMBA_CACHE_DIR" in os.environ or os.access(_PACKAGE, os.W_OK):
        return {}
    return {"NUMBA_CACHE_DIR": str(folder)}
