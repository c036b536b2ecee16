"""A folder of images as people have them: with what programs leave in it, and names of every kind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import striate


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_what_programs_leave_behind_is_no_class_and_no_image(tmp_path: Path) -> None:
    put(tmp_path, "cat/a.png", "cat/._a.png", ".ipynb_checkpoints/b.png", "__MACOSX/cat/a.png", "cat/.cache/c.jpg")
    assert [(each.name, each.class_name) for each in striate.image_folder(tmp_path)] == [("cat/a.png", "cat")]


def test_names_that_are_not_utf8_and_those_with_control_characters_can_be_sent(tmp_path: Path) -> None:
    put(tmp_path, "Screenshot at 9.41.00\u202fPM.png", "a\nb.png", "d" * 200 + "/" + "e" * 200 + ".png")
    os.close(os.open(os.fsencode(tmp_path) + b"/caf\xe9.png", os.O_CREAT))
    names = {each.name for each in striate.image_folder(tmp_path)}
    assert {"Screenshot at 9.41.00\u202fPM.png", "a\ufffdb.png", "caf\ufffd.png"} < names
    for name in names:
        name.encode()


def test_a_spreadsheets_file_of_classes_is_read_and_one_in_latin1_is_explained(tmp_path: Path) -> None:
    put(tmp_path, "one.png", "two.png")
    (tmp_path / "classes.csv").write_bytes(b"\xef\xbb\xbffile,class\r\none.png,cat\r\ntwo.png,dog\r\n")
    found = striate.image_folder(tmp_path, tmp_path / "classes.csv")
    assert {each.name: each.class_name for each in found} == {"one.png": "cat", "two.png": "dog"}
    (tmp_path / "classes.csv").write_bytes("file,class\none.png,M\xf6we\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"classes\.csv is no text in UTF-8; save it as UTF-8"):
        striate.image_folder(tmp_path, tmp_path / "classes.csv")
