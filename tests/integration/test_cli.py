"""The command line against a real server, as a person or a script calls it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from striate_service.local import LocalServer
from striate_service.models.embedded.pictures import draw

Striate = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def striate(server: LocalServer, tmp_path: Path) -> Striate:
    """Run a command in a folder of its own, with a picture there."""
    Image.fromarray(draw(3, "house").image).save(tmp_path / "house.png")

    def run(*arguments: str, target: str = server.target) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("striate")), *arguments, "--server", target]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)

    return run


def test_models_are_listed_for_people_and_programs(striate: Striate) -> None:
    listed = striate("models", "--layers")
    assert listed.returncode == 0
    assert "parts (default)" in listed.stdout
    assert "mixed4a" in listed.stdout
    facts = json.loads(striate("models", "--json").stdout)
    assert facts[0]["name"] == "parts"
    assert facts[0]["input_size"] == [112, 112]


def test_the_three_questions(striate: Striate, tmp_path: Path) -> None:
    asked = striate("activations", "house.png", "--layer", "mixed4a", "--reduce", "mean", "-o", "acts.npz")
    assert asked.returncode == 0
    assert "float32 [1, 160]" in asked.stdout
    assert (tmp_path / "acts.npz").exists()
    words = json.loads(striate("dictionary", "house.png", "--layer", "mixed5b", "--no-wait", "--json").stdout)
    assert len(words) == 49
    assert {"channel", "name", "activation", "effects", "icon"} <= set(words[0]["neurons"][0])
    groups = striate("factorize", "house.png", "--layer", "mixed4a", "-k", "4", "--no-wait", "-o", "groups.png")
    assert groups.returncode == 0
    assert Image.open(tmp_path / "groups.png").size == (112, 112)


def test_groups_are_kept_under_a_name(striate: Striate) -> None:
    first = striate("factorize", "house.png", "-l", "mixed4a", "-k", "3", "--save-as", "houses", "--no-wait")
    assert first.returncode == 0
    assert "nats" in first.stdout
    again = json.loads(striate("factorize", "house.png", "--basis", "houses", "--no-wait", "--json").stdout)
    assert again["basis"] == "houses"
    shown = json.loads(striate("bases", "show", "houses", "--json").stdout)
    assert [group["color"] for group in shown["groups"]] == [group["color"] for group in again["groups"]]
    assert "houses" in striate("bases", "list").stdout
    assert striate("bases", "delete", "houses").returncode == 0
    assert "houses" not in striate("bases", "list").stdout
    assert striate("bases", "show", "houses").returncode == 1


def test_flows_between_layers_are_told(striate: Striate, tmp_path: Path) -> None:
    arguments = ("flows", "house.png", "-l", "mixed3b", "-l", "mixed4a", "-k", "2", "--no-wait")
    told = striate(*arguments, "-o", "flows.html")
    assert told.returncode == 0
    assert "mixed3b to mixed4a" in told.stdout
    assert "left out" in told.stdout
    assert (tmp_path / "flows.html").exists()
    facts = json.loads(striate(*arguments, "--json").stdout)
    assert len(facts["flows"][0]) == 2


def test_rendering_leaves_a_contact_sheet(striate: Striate, tmp_path: Path) -> None:
    rendered = striate("render", "--layer", "mixed3a", "--channels", "0-1,5", "-o", "icons.png")
    assert rendered.returncode == 0
    width, height = Image.open(tmp_path / "icons.png").size
    assert width == 3 * height


def test_a_report_is_one_file_that_needs_nothing_else(striate: Striate, tmp_path: Path) -> None:
    reported = striate("report", "house.png", "--no-wait", "-o", "page.html")
    assert reported.returncode == 0
    page = (tmp_path / "page.html").read_text()
    assert "house.png" in page
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_names_travel_by_file(striate: Striate, tmp_path: Path) -> None:
    assert striate("labels", "set", "mixed3b", "7", "corners").returncode == 0
    assert striate("labels", "export", "names.csv").returncode == 0
    rows = list(csv.DictReader((tmp_path / "names.csv").open()))
    assert ("mixed3b", "7", "corners") in {(row["layer"], row["channel"], row["text"]) for row in rows}
    assert striate("labels", "delete", "mixed3b", "7").returncode == 0
    (tmp_path / "few.csv").write_text("layer,channel,text,source,score,author\nmixed3b,7,edges,person,,ann\n")
    assert striate("labels", "import", "few.csv").returncode == 0
    assert "edges" in striate("labels", "list", "--layer", "mixed3b").stdout
    assert striate("labels", "delete", "mixed3b", "7").returncode == 0


def test_health_is_an_exit_status(striate: Striate) -> None:
    assert striate("health").returncode == 0
    assert striate("health", target="127.0.0.1:9").returncode == 1


def test_failures_are_one_line_and_a_status(striate: Striate) -> None:
    wrong_layer = striate("dictionary", "house.png", "--layer", "mixed4z")
    assert wrong_layer.returncode == 1
    assert "mixed4" in wrong_layer.stderr
    assert "Traceback" not in wrong_layer.stderr
    assert len(wrong_layer.stderr.strip().splitlines()) == 1
    nobody = striate("models", target="127.0.0.1:9")
    assert nobody.returncode == 1
    assert "striate serve" in nobody.stderr
    assert striate("dictionary", "nowhere.png", "--layer", "mixed4a").returncode == 2
