"""Compiled code is kept where it can be: in the package, else in STRIATE_HOME, unless the operator says where."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from striate_service.backends.local.compiled_code import cache_variables


def test_compiled_code_is_kept_in_the_home_folder_where_the_package_is_read_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert cache_variables(tmp_path) == {}, "the package can be written here"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert cache_variables(tmp_path) == {"NUMBA_CACHE_DIR": str(tmp_path)}
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/elsewhere")
    assert cache_variables(tmp_path) == {}
