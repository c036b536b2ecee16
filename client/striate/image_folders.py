"""Folders of images, and the class that each image shows."""

from __future__ import annotations

import csv
import unicodedata
from pathlib import Path

from striate.images import LabelledImage

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_LONGEST_NAME = 1000  # characters, which the server takes


def image_folder(folder: str | Path, classes: str | Path | None = None) -> list[LabelledImage]:
    """List the images in a folder and its subfolders, with their classes as far as they are known.

        FOLDER/CLASS/...NAME.jpg    its class is the first subfolder on its path
        FOLDER/NAME.jpg             its class is unknown, unless `classes` names it

    Hidden files and folders (._NAME.jpg, .ipynb_checkpoints) and __MACOSX are left out: programs put them there.
    The images are not read. They come class by class in turn, so that the first few show most classes.

    Args:
        classes: a CSV file with the columns file (relative to the folder) and class, instead of subfolders. Images that
            it leaves out are of unknown class.

    Raises:
        FileNotFoundError: there is no such folder or file, or no image in it.
        ValueError: the CSV file lacks a column, or names an image that is not there.
    """
    folder = Path(folder).expanduser()
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not _is_hidden(path.relative_to(folder)) and path.is_file()
    )
    if not files:
        raise FileNotFoundError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
    names = [path.relative_to(folder) for path in files]
    if classes is None:
        known = {name: name.parts[0] for name in names if len(name.parts) > 1}
    else:
        known = _read_classes(Path(classes).expanduser())
        if strangers := known.keys() - set(names):
            raise ValueError(f"{classes} names {min(strangers)}, and {folder} has no such image")
    listed = [
        LabelledImage(path, _readable(known.get(name, "")), _readable(name.as_posix())[-_LONGEST_NAME:])
        for path, name in zip(files, names, strict=True)
    ]
    return _interleaved(listed)


def _read_classes(file: Path) -> dict[Path, str]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as rows:  # spreadsheets begin a file with a byte order mark
            reader = csv.DictReader(rows)
            missing = {"file", "class"} - set(reader.fieldnames or ())
            if missing:
                raise ValueError(
                    f"{file} has no column {' and no column '.join(sorted(missing))}; it needs file and class"
                )
            return {Path((row["file"] or "").strip()): (row["class"] or "").strip() for row in reader}
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no text in UTF-8; save it as UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{file} is no CSV: {error}") from error


def _is_hidden(path: Path) -> bool:
    """Whether a file is no image of the user's, but one that a program left beside them."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _readable(name: str) -> str:
    """Return a file's name as text: what is not UTF-8 in it, and control characters, as U+FFFD."""
    text = name.encode(errors="surrogateescape").decode(errors="replace")
    return "".join("\ufffd" if unicodedata.category(character) == "Cc" else character for character in text)


def _interleaved(images: list[LabelledImage]) -> list[LabelledImage]:
    """Return the images so that the classes take turns."""
    counts: dict[str, int] = {}
    numbered = []
    for image in images:
        numbered.append((counts.setdefault(image.class_name, 0), image))
        counts[image.class_name] += 1
    return [image for _, image in sorted(numbered, key=lambda pair: pair[0])]
