"""Import the libraries that sources need and that are extras of this package."""

from __future__ import annotations

import importlib
from types import ModuleType

from striate_service.models.errors import ModelError, in_short
from striate_service.models.torchvision_compat import import_torchvision


def import_extra(name: str) -> ModuleType:
    """Return a library that imports torchvision itself.

    Raises:
        ModelError: it is not installed.
    """
    import_torchvision()  # first, since it knows what to do where torchvision's extension does not load
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelError(f"it needs pip install 'striate[{name}]' ({in_short(error)}).") from error
