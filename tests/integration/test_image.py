"""The container's image, without a container: the Dockerfile's own steps in a clean copy, then its command with a root
file system that is read-only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import striate

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "docker" / "Dockerfile").read_text().replace("\\\n", "")

pytestmark = pytest.mark.skipif(not os.environ.get("LONG"), reason="it installs everything anew: LONG=1")


def steps() -> list[tuple[str, str]]:
    """Return the instructions of the stage that builds, as (RUN or COPY, what)."""
    stage = DOCKERFILE[DOCKERFILE.index("\nFROM") :].split("\nFROM")[1]
    return re.findall(r"^(RUN|COPY) (.*)$", stage, re.MULTILINE)


def variables() -> dict[str, str]:
    """Return the environment of the image."""
    (text,) = re.findall(r"^ENV (PATH=.*STRIATE_HOME.*)$", DOCKERFILE, re.MULTILINE)
    return dict(pair.split("=", 1) for pair in text.split())


def in_folder(text: str, folder: Path) -> str:
    """Return a step with the image's folders under another."""
    return re.sub(r"(?<![\w.])/(opt/striate|data)\b", lambda found: f"{folder}/{found[1]}", text)


def test_the_image_is_built_and_serves_with_a_read_only_root(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (tmp_path / "opt").mkdir()
    path = f"{tmp_path}/opt/striate/bin:{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PATH"] = path
    for kind, what in steps():
        if kind == "RUN":
            subprocess.run(in_folder(what, tmp_path), shell=True, check=True, cwd=source, env=environment)
            continue
        *names, target = what.split()
        for name in names:
            place = source / target / (name if target == "./" else "")
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, place)
    shutil.rmtree(source)
    assert any((tmp_path / "data" / "onnx").iterdir())

    image = {name: in_folder(value, tmp_path) for name, value in variables().items() if name != "PATH"}
    command = f"""
        mount --make-rprivate / && mount --bind {tmp_path}/data {tmp_path}/data &&
        mount -t tmpfs tmpfs /dev/shm && mount -o remount,bind,ro / &&
        ! touch {tmp_path}/opt/written 2>/dev/null &&
        exec striate serve --port 0 --metrics-port -1 --devices cpu
    """
    serving = subprocess.Popen(
        ["unshare", "--mount", "bash", "-c", command],
        env=environment | image | {"STRIATE_HOST": "127.0.0.1", "TMPDIR": "/dev/shm"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = []
        assert serving.stderr
        for line in serving.stderr:
            said.append(line)
            if found := re.search(r"serving .*? on (\S+:\d+)", line):
                break
        else:
            raise AssertionError("".join(said))
        assert not any("export" in line or "compil" in line for line in said), said
        with striate.Client(found[1]) as client:
            assert [model.name for model in client.models()] == ["parts"]
    finally:
        serving.terminate()
        assert serving.wait(60) == 0
