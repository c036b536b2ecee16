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
    found = sorted(
        path for path in real.rglob("*") if path.suffix.lower() in _SUFFIXES and not _is_hidden(path.relative_to(real))
    )
    images = [path for path in found if _within(path.resolve(), roots) and path.is_file()]
    if not images:
        raise InvalidArgument(field, f"is {shown(folder)}, which holds no images ({', '.join(sorted(_SUFFIXES))}).")
    return real, images


def name_in(folder: Path, file: Path) -> str:
    """Return a file's name to tell a caller; what is not UTF-8 in it as U+FFFD."""
    return file.relative_to(folder).as_posix().encode(errors="surrogateescape").decode(errors="replace")


def _is_hidden(path: Path) -> bool:
    """Whether a file is no image of a person's, but one that a program left beside them (._NAME.jpg, __MACOSX)."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _within(path: Path, roots: Sequence[Path]) -> bool:
    return any(path.is_relative_to(root) for root in roots)
