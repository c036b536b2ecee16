"""The command line against a real server, as a person or a script calls it."""

from __future__ import annotations

import csv
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from PIL import Image
from striate import Client
from striate.cli import _not_installed, main
from striate_service.local import LocalServer
from striate_service.models.embedded.pictures import draw
from typer.testing import CliRunner

Striate = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def striate(server: LocalServer, tmp_path: Path) -> Striate:
    """Run a command in a folder of its own, with a picture there."""
    Image.fromarray(draw(3, "house").image).save(tmp_path / "house.png")

    def run(*arguments: str, target: str = server.target) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("striate")), *arguments, "--server", target]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)

    return run


@pytest.fixture
def in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run a command in this process, and return its exit status and all that it says: starting one takes a second."""
    Image.fromarray(draw(3, "house").image).save(tmp_path / "house.png")
    (tmp_path / "text.png").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["striate", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

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


def test_groups_are_told_in_shares_and_drawn_large_with_their_key(striate: Striate, tmp_path: Path) -> None:
    photos = ["house.png", "cat.png"]
    Image.fromarray(draw(5, "cat").image).save(tmp_path / "cat.png")
    told = striate("factorize", *photos, "--layer", "mixed4a", "-k", "1", "--no-wait", "-o", "groups.png")
    assert told.returncode == 0
    shares = [int(share) for share in re.findall(r"(\d+)%\s+[+-]\d", told.stdout)]
    assert len(shares) == 2
    assert sum(shares) == 100, "with what is left out"
    assert re.search(r"With these groups alone, house\.png: \w+ \d+% becomes \d+%", told.stdout)
    assert "more groups explain more: -k 2" in told.stdout
    assert "nats" not in told.stdout
    width, height = Image.open(tmp_path / "groups.png").size
    assert width > 2 * 512 + 300, "two images and the key"
    assert height > 512


def test_a_file_of_another_kind_is_refused_before_anything_is_asked(striate: Striate) -> None:
    nobody = "127.0.0.1:9"
    refused = striate("factorize", "house.png", "-l", "mixed4a", "-o", "x.pdf", target=nobody)
    assert refused.returncode == 2
    assert "x.pdf should end in .html or .png" in " ".join(refused.stderr.split())
    assert striate("report", "house.png", "-o", "x.png", target=nobody).returncode == 2
    assert striate("render", "-l", "mixed4a", "-o", "x.html", target=nobody).returncode == 2
    missing = striate("report", "house.png", "-o", "nowhere/x.html", target=nobody)
    assert missing.returncode == 2
    assert "no folder nowhere" in " ".join(missing.stderr.split())


def test_groups_are_kept_under_a_name(striate: Striate) -> None:
    first = striate("factorize", "house.png", "-l", "mixed4a", "-k", "3", "--save-as", "houses", "--no-wait")
    assert first.returncode == 0
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
    assert width == 3 * 128
    assert height == 128 + 22, "a line for the channels' numbers"


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


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("activations house.png -l mixed4a --reduce sum", "--reduce"),
        ("activations nowhere.png -l mixed4a", "nowhere.png"),
        ("dictionary . -l mixed4a", "is a directory"),
        ("dictionary house.png -l mixed4a --neurons 0", "--neurons"),
        ("dictionary house.png -l mixed4a -o page.pdf", "should end in .html"),
        ("factorize house.png -l mixed4a -o nowhere/page.html", "no folder nowhere"),
        ("factorize house.png -l mixed4a --method svd", "nmf"),
        ("render -l mixed4a --channels 5-2", "0-15,40"),
        ("render -l mixed4a --channels 0-9999999999", "no layer has"),
        ("render -l mixed4a --position 3", "ROW,COLUMN"),
        ("models --tls-key key.pem", "--tls-certificate"),
        ("labels export names.txt", "should end in .csv or .json"),
        ("labels export nowhere/names.csv", "no folder nowhere"),
    ],
)
def test_what_is_typed_wrongly_is_refused_before_anything_is_asked(
    in_words: Callable[..., tuple[int, str]], typed: str, said: str
) -> None:
    code, words = in_words(*typed.split(), "--server", "127.0.0.1:9")
    assert code == 2
    assert said in words


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("dictionary house.png -l mixed4z", "there is no layer 'mixed4z'; did you mean"),
        ("dictionary house.png -l nothing-like-it", "`striate models --layers` lists them"),
        ("dictionary house.png -l mixed4a --neurons 1000", "--neurons is 1000; it should be 1 to 64"),
        ("dictionary house.png -l mixed4a --recipe nice", "--recipe is 'nice'"),
        ("dictionary text.png -l mixed4a", "text.png is no image that can be read"),
        ("factorize house.png text.png -l mixed4a", "text.png is no image that can be read"),
        ("factorize house.png", "--layer is empty"),
        ("flows house.png -l mixed4a -l mixed3a", "--layer 'mixed3a' does not compute after"),
        ("render -l mixed4a --channels 0 --objective nice", "--objective is 'nice'"),
        ("render -l mixed4a --channels 0 --position 300,0 --objective neuron", "--position is 300"),
        ("labels set mixed4a 9999 beak", "channel is 9999; it should be 0 to 159"),
        ("bases show none", "there is no basis 'none'"),
        ("activations house.png -l mixed4a --model none", "there is no model 'none'"),
        ("index . -l nothing-like-it", "`striate models --layers` lists them"),
    ],
)
def test_what_the_server_refuses_is_said_in_the_words_that_were_typed(
    in_words: Callable[..., tuple[int, str]], server: LocalServer, typed: str, said: str
) -> None:
    code, words = in_words(*typed.split(), "--server", server.target)
    assert code == 1
    assert said in words.splitlines()[-1]
    assert len(words.splitlines()[-1]) < 200


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:9", "no server answers at 127.0.0.1:9; start one with `striate serve --port 9`"),
        ("localhost:abc", "HOST:PORT"),
        ("nowhere.invalid:50051", "there is no machine 'nowhere.invalid'"),
        ("localhost", "an address is HOST:PORT"),
    ],
)
def test_a_server_that_does_not_answer_is_named_with_what_to_do(
    in_words: Callable[..., tuple[int, str]], address: str, said: str
) -> None:
    code, words = in_words("models", "--server", address)
    assert code == 1
    assert said in words
    assert len(words.splitlines()) == 1


def test_names_are_printed_as_they_are(in_words: Callable[..., tuple[int, str]], server: LocalServer) -> None:
    target = ("--server", server.target)
    assert in_words("labels", "set", "mixed3b", "9", "[/red] [b]", *target)[0] == 0
    code, words = in_words("labels", "list", "--layer", "mixed3b", *target)
    assert code == 0
    assert "[/red] [b]" in words
    assert in_words("labels", "delete", "mixed3b", "9", *target)[0] == 0


def test_profiles_of_monitors_travel_by_file(
    in_words: Callable[..., tuple[int, str]], client: Client, server: LocalServer, tmp_path: Path
) -> None:
    target = ("--server", server.target)
    images = [draw(seed, "car").image for seed in range(6)]
    client.create_monitor("north", ["mixed4a"], reference=images[:4])
    list(client.observe_images("north", images[4:]))
    client.create_monitor("all", ["mixed4a"])
    client.create_monitor("elsewhere", ["mixed5b"])
    try:
        told = "wrote north.profile: 4 images of the reference, 2 newer"
        assert in_words("monitor", "export", "north", "north.profile", *target) == (0, f"{told}\n")
        assert in_words("monitor", "export", "north", "numbers", "--no-pictures", *target)[0] == 0
        assert (tmp_path / "numbers").stat().st_size < (tmp_path / "north.profile").stat().st_size / 2
        imported = ("monitor", "import", "all", "north.profile")
        assert in_words(*imported, "--reference-only", *target) == (0, "all: 4 images taken in\n")
        assert in_words(*imported, "north.profile", *target) == (0, "all: 2 images taken in\n")
        kept = client.monitor("all")
        assert (kept.reference_images, kept.observed_images) == (4, 2)
        for typed, code, said in (
            ("import all house.png", 1, "house.png is no profile of a monitor"),
            ("import all nowhere", 2, "'nowhere' does not exist"),
            ("import elsewhere north.profile", 1, "profile.layers are not the monitor's, which are mixed5b"),
            ("export nobody other.profile", 1, "there is no monitor 'nobody'"),
            ("export north nowhere/file", 1, "nowhere"),
        ):
            ended, words = in_words("monitor", *typed.split(), *target)
            assert (ended, said in words) == (code, True), words
        assert not (tmp_path / "other.profile").exists()
    finally:
        for name in ("north", "all", "elsewhere"):
            client.delete_monitor(name)


def test_lists_fit_80_columns_with_whole_names(in_words: Callable[..., tuple[int, str]], server: LocalServer) -> None:
    _, words = in_words("models", "--layers", "--server", server.target)
    assert "mixed5b" in words
    assert "mixed5…" not in words
    assert max(map(len, words.splitlines())) <= 80


def test_the_version_is_told(in_words: Callable[..., tuple[int, str]]) -> None:
    assert in_words("--version") == (0, f"striate {version('striate')}\n")


def test_help_keeps_its_brackets(in_words: Callable[..., tuple[int, str]]) -> None:
    missing = _not_installed("serve", "No module named 'torch'")
    app = typer.Typer()
    app.command("serve")(missing)
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "striate[service]" in shown


def test_ctrl_c_ends_with_130() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes the call, and never answers
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        command = [str(Path(sys.executable).with_name("striate")), "models", "--server", target]
        running = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell lets what it runs in the background ignore Ctrl-C, and so would this.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        with silent.accept()[0]:
            running.send_signal(signal.SIGINT)
            said, failed = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said + failed == ""


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
