"""Images on the server's own machine that callers may name: those in folders that the operator allows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from striate_service.errors import InvalidArgument, shown

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def images_in(folder: str, allowed: Sequence[Path], field: str) -> tuple[Path, list[Path]]:
    """Return the folder without links and dots, and the images in it and below it, by path.

    Links are followed only where they stay within `allowed`.

    Raises:
        InvalidArgument: the folder is not within `allowed`, or not there (which of both is not told), or has no images.
    """
    roots = [root.expanduser().resolve() for root in allowed]
    real = Path(folder).resolve()  # without links and dots: what is checked is what is read
    if not Path(folder).is_absolute() or not _within(real, roots) or not real.is_dir():
        raise InvalidArgument(
            field, f"is {shown(folder)}, which is no folder that this server may read (its setting image_folders)."
        )
    found = sorted(path for path in real.rglob("*") if path.suffix.lower() in _SUFFIXES)
    images = [path for path in found if _within(path.resolve(), roots) and path.is_file()]
    if not images:
        raise InvalidArgument(field, f"is {shown(folder)}, which holds no images ({', '.join(sorted(_SUFFIXES))}).")
    return real, images


def _within(path: Path, roots: Sequence[Path]) -> bool:
    return any(path.is_relative_to(root) for root in roots)
