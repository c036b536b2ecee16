"""Names keep their history, belong to their weights, and live in SQLite or in a real PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import postgres
import psycopg
import pytest
import striate
from conftest import settings
from sqlalchemy import create_engine
from striate_service.local import LocalServer
from striate_service.stores.database import DatabaseError
from striate_service.stores.labels import LabelSource, LabelStore, StoredLabel, direction_bytes

VERSION = "v" * 64
OTHER = "w" * 64


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    binaries = postgres.programs()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres.postgresql(binaries) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'labels.db'}"
    return str(request.getfixturevalue("postgres_url"))


def of_channel(layer: str, text: str, *, version: str = VERSION, author: str = "", score: float | None = None):
    return StoredLabel(version, layer, 3, text, LabelSource.PERSON, score, author)


def of_direction(layer: str, text: str, *direction: float) -> StoredLabel:
    return StoredLabel(VERSION, layer, None, text, LabelSource.PERSON, direction=direction_bytes(np.array(direction)))


def test_a_name_replaces_a_shipped_one_until_it_is_deleted_and_history_is_kept(store_url: str) -> None:
    shipped = StoredLabel(VERSION, "shipped", 3, "wheel", LabelSource.DISSECTION, 0.3)
    store = LabelStore(store_url, [shipped])
    assert store.of_channels(VERSION, "shipped", [3, 4]) == {3: shipped}
    store.set(of_channel("shipped", "hub cap", author="ann", score=0.5))
    store.set(of_channel("shipped", "tyre"))
    current = store.of_channels(VERSION, "shipped", [3])[3]
    assert (current.text, current.ended, current.score) == ("tyre", None, None)
    assert store.delete(current)
    assert not store.delete(current)
    assert store.of_channels(VERSION, "shipped", [3]) == {3: shipped}
    history = store.list(VERSION, "shipped", history=True)
    assert [(label.text, label.author, label.score) for label in history] == [
        ("tyre", "", None),
        ("hub cap", "ann", 0.5),
    ]
    assert all(label.created and label.ended and label.created <= label.ended for label in history)
    store.close()


def test_other_weights_have_other_names(store_url: str) -> None:
    store = LabelStore(store_url)
    store.set(of_channel("weights", "wheel"))
    store.set(of_direction("weights", "round things", 1, 0, 0))
    assert store.of_channels(OTHER, "weights", [3]) == {}
    assert store.of_directions(OTHER, "weights", np.eye(3, dtype=np.float32)) == [None] * 3
    assert not store.delete(of_channel("weights", "", version=OTHER))
    assert store.list(OTHER) == []
    assert len(store.list(VERSION, "weights")) == 2
    store.close()


def test_a_direction_bears_the_name_of_one_like_it(store_url: str) -> None:
    store = LabelStore(store_url)

    def names(*directions: list[float]) -> list[str | None]:
        found = store.of_directions(VERSION, "directions", np.array(directions, np.float32))
        return [label and label.text for label in found]

    store.set(of_direction("directions", "eyes", 2, 0, 0))
    store.set(of_direction("directions", "ears", 0, 1, 1))
    assert names([5, 0.5, 0], [0, 1, 0.8], [1, 1, 1]) == ["eyes", "ears", None]
    store.set(of_direction("directions", "eyes and more", 1, 0.01, 0))
    assert names([1, 0, 0]) == ["eyes and more"], "almost the same direction: its name was replaced"
    assert len(store.list(VERSION, "directions")) == 2
    assert len(store.list(VERSION, "directions", history=True)) == 3
    assert store.delete(of_direction("directions", "", 1, 0, 0))
    assert names([1, 0, 0]) == [None]
    store.close()


def test_of_many_who_name_a_neuron_at_once_one_has_the_last_word(store_url: str) -> None:
    stores = [LabelStore(store_url) for _ in range(2)]
    with ThreadPoolExecutor(4) as people:
        list(people.map(lambda number: stores[number % 2].set(of_channel("crowded", f"name {number}")), range(12)))
    history = stores[0].list(VERSION, "crowded", history=True)
    assert len(history) == 12, "nobody's name was lost"
    assert sum(label.ended is None for label in history) == 1
    for store in stores:
        store.close()


def test_a_database_without_directions_is_read_as_it_is(tmp_path: Path) -> None:
    LabelStore(f"sqlite:///{tmp_path / 'labels.db'}").set(of_channel("mixed4a", "wheel"))
    with sqlite3.connect(tmp_path / "labels.db") as database:
        database.execute("DROP TABLE direction_labels")
    store = LabelStore(f"sqlite:///{tmp_path / 'labels.db'}")
    store.set(of_direction("mixed4a", "round", 1, 1))
    assert [label.text for label in store.list(VERSION)] == ["wheel", "round"]


@pytest.mark.promise(
    "the label database is of a later version of the server, or of one before databases had a version",
    "the start ends with a sentence; the older one is taken over",
)
def test_a_database_says_of_which_format_it_is(store_url: str) -> None:
    LabelStore(store_url).set(of_channel("mixed4a", "wheel"))
    engine = create_engine(store_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as database:
        database.exec_driver_sql("DROP TABLE striate_format")
    assert "wheel" in [label.text for label in LabelStore(store_url).list(VERSION)]
    with engine.begin() as database:
        assert database.exec_driver_sql("SELECT version FROM striate_format").scalars().all() == [1]
        database.exec_driver_sql("UPDATE striate_format SET version = 2")
    with pytest.raises(DatabaseError, match="format 2, and this version of striate knows formats up to 1"):
        LabelStore(store_url)
    with engine.begin() as database:  # other tests use it
        database.exec_driver_sql("UPDATE striate_format SET version = 1")
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://nobody@127.0.0.1:9/nowhere", "check `database`"),
        ("what is this", "check `database`"),
        ("mysql+mysqldb://127.0.0.1/labels", "no driver"),
    ],
)
def test_a_database_that_cannot_be_used_is_said(url: str, said: str) -> None:
    with pytest.raises(DatabaseError, match=said):
        LabelStore(url)


@contextmanager
def lost(url: str) -> Iterator[None]:
    """Have PostgreSQL close all connections to the database, and refuse new ones meanwhile."""
    with psycopg.connect(url.replace("/postgres", "/template1"), autocommit=True) as connection:
        connection.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'")
        try:
            yield
        finally:
            connection.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS true")


@pytest.mark.promise(
    "the label database is lost, and comes back",
    "answers come without names and say so, changes of names end UNAVAILABLE; then all is as before",
)
def test_a_server_keeps_its_names_in_postgresql(postgres_url: str, tmp_path: Path, photo: np.ndarray) -> None:
    with (
        LocalServer(settings(tmp_path, models=["parts"], devices=("cpu",), database=postgres_url)) as server,
        striate.Client(server.target) as client,
    ):
        client.set_label("conv2", 5, "stripes", author="ann", score=0.5)
        version = client.model().version
        assert [label.text for label in client.labels("conv2") if label.channel == 5] == ["stripes"]
        with lost(postgres_url):
            words = client.semantic_dictionary(photo, "conv2", positions=[(1, 1)], neurons=1, icons=False)
            assert words.at(1, 1)[0].label.source == "unavailable"
            with pytest.raises(striate.Unavailable, match="database does not answer"):
                client.set_label("conv2", 5, "spots")
        assert [label.text for label in client.labels("conv2") if label.channel == 5] == ["stripes"]
    kept = LabelStore(postgres_url).of_channels(version, "conv2", [5])[5]
    assert (kept.text, kept.author, kept.source, kept.score) == ("stripes", "ann", 1, 0.5)


def test_a_group_bears_the_name_of_a_direction_like_it(client: striate.Client, photo: np.ndarray) -> None:
    groups = client.factorize(photo, "mixed4c", components=3, icons=False)
    labelled = client.set_label("mixed4c", groups.directions[1], "roofs and sky", author="ann")
    try:
        assert labelled.channel is None
        np.testing.assert_allclose(labelled.direction, groups.directions[1], atol=1e-5)
        again = client.factorize(photo, "mixed4c", components=3, icons=False)
        assert again.groups[1].name == "roofs and sky"
        assert again.groups[1].label.source == "person"
        listed = [label for label in client.labels("mixed4c") if label.direction]
        assert [(label.text, label.model_version) for label in listed] == [("roofs and sky", client.model().version)]
        with pytest.raises(striate.InvalidArgument) as wrong:
            client.set_label("mixed4c", [1.0, 2.0], "too short")
        assert "direction" in wrong.value.violations
    finally:
        client.delete_label("mixed4c", groups.directions[1])
    with pytest.raises(striate.NotFound):
        client.delete_label("mixed4c", groups.directions[1])


@contextmanager
def names_of_channels(client: striate.Client, layer: str, names: dict[int, str]) -> Iterator[None]:
    for channel, text in names.items():
        client.set_label(layer, channel, text)
    try:
        yield
    finally:
        for channel in names:
            client.delete_label(layer, channel)


def test_a_group_takes_no_name_of_a_channel_that_has_little_of_its_direction(
    client: striate.Client, photo: np.ndarray
) -> None:
    """A name that one channel has is that of the groups of which the channel is a good part, and of no others. No other
    channel of the layer has a name."""
    found = client.factorize(photo, "conv3", components=6, classes=0, icons=False)
    shares = np.square(found.directions)
    strongest = shares.max(1)
    channel = int(found.groups[0].channels[0])
    with names_of_channels(client, "conv3", {channel: "eaves"}):
        named = client.factorize(photo, "conv3", components=6, classes=0, icons=False).groups
    for group, share, most in zip(named, shares[:, channel], strongest, strict=True):
        if group.name.startswith("eaves"):
            assert channel in group.channels
            assert share >= max(0.05, most / 2)
    assert named[0].name == "eaves"
    assert not all(group.name.startswith("eaves") for group in named), "it says something"


def test_groups_of_one_reply_with_one_name_are_told_apart(client: striate.Client, photo: np.ndarray) -> None:
    """All channels that the groups list have one name."""
    found = client.factorize(photo, "mixed4c", components=4, classes=0, icons=False)
    lists = [set(group.channels) for group in found.groups]
    everywhere = dict.fromkeys(sorted(set.union(*lists)), "stone")
    with names_of_channels(client, "mixed4c", everywhere):
        names = [
            group.name for group in client.factorize(photo, "mixed4c", components=4, classes=0, icons=False).groups
        ]
        flowing = client.factorize_layers(photo, ["mixed4c", "mixed5b"], components=4, classes=0, icons=False)
    assert names[0] == "stone"
    for number, name in enumerate(names[1:], start=1):
        own = lists[number].difference(*(each for other, each in enumerate(lists) if other != number))
        assert name in {f"stone (channel {channel})" for channel in own}, name
    assert len(set(names)) == len(names)
    assert [group.name for group in flowing.layers[0].groups] == names


def test_history_tells_when_names_ended(client: striate.Client) -> None:
    client.set_label("conv2", 6, "first")
    client.set_label("conv2", 6, "second")
    client.delete_label("conv2", 6)
    second, first = client.labels("conv2", history=True)[:2]
    assert (first.text, second.text) == ("first", "second")
    assert first.created < first.ended <= second.created < second.ended


def test_names_of_other_weights_are_never_silently_applied(
    client: striate.Client, server: LocalServer, tmp_path: Path
) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("striate")), "labels", *arguments, "--server", server.target]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)

    with pytest.raises(striate.InvalidArgument) as refused:
        client.set_label("conv2", 7, "corner", model_version=OTHER)
    assert "model_version" in refused.value.violations
    row = {"layer": "conv2", "channel": 7, "text": "corner", "model_version": OTHER}
    (tmp_path / "names.json").write_text(json.dumps([{**row, "channel": 8, "model_version": ""}, row]))
    done = run("import", "names.json")
    assert done.returncode == 1
    assert "other weights" in done.stderr
    assert not {7, 8} & {label.channel for label in client.labels("conv2")}, "nothing is taken by half"
    assert run("import", "names.json", "--other-weights").returncode == 0
    taken = {label.channel: label for label in client.labels("conv2")}
    assert {taken[7].text, taken[8].text} == {"corner"}
    assert taken[7].source == "imported"
    for channel in (7, 8):
        client.delete_label("conv2", channel)


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_names_come_back_from_a_file_as_they_were(tmp_path: Path, suffix: str) -> None:
    labels = [
        striate.Label('floppy ear, "soft"', "imported", 0.25, "ann", "mixed4d", 12, model_version=VERSION),
        striate.Label("=HYPERLINK(1)", "imported", None, "'@ann", "mixed4d", 13, model_version=VERSION),
        striate.Label("'quoted', 'and so on'", "imported", None, "-", "mixed4d", 14, model_version=VERSION),
        striate.Label("Öhrchen", "imported", None, "", "mixed4d", None, (0.5, 0.25), model_version=VERSION),
    ]
    striate.write_labels(tmp_path / f"names.{suffix}", labels)
    assert striate.read_labels(tmp_path / f"names.{suffix}") == labels


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"layer,channel\nconv2,1\n", "no column text"),
        ("a.csv", b"layer,channel,text\nconv2,x,edge\n", "line 2: channel is 'x'"),
        ("a.csv", b"layer,channel,text\nconv2,1,edge\nconv2,,edge\n", "line 3: give a channel or a direction"),
        ("a.csv", b"layer,channel,text,score\nconv2,1,edge,much\n", "line 2: score is 'much'"),
        ("a.csv", b"layer,channel,text,direction\nconv2,,edge,1;2\n", "line 2: direction should be a list"),
        (
            "a.csv",
            b"layer,channel,text,score\nconv2,1,edge,nan\n",
            "line 2: score is 'nan'; it should be a number from 0",
        ),
        ("a.csv", b"layer,channel,text\nconv2,1,\xff\n", "no text in UTF-8"),
        ("a.csv", "layer,channel,text\n".encode("utf-16"), "no text in UTF-8"),
        ("a.json", b"[1, 2", "no JSON"),
        ("a.json", b"{}", "should hold a list of objects"),
        ("a.json", b'[{"layer": "conv2", "channel": 1}]', "entry 1: text should be a text"),
        ("a.json", b'[{"layer": "conv2", "channel": -1, "text": "edge"}]', "entry 1: channel is -1"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said.replace("[", r"\[")) as wrong:
        striate.read_labels(tmp_path / name)
    assert name in str(wrong.value)


def test_a_spreadsheet_shows_a_name_and_computes_nothing(tmp_path: Path) -> None:
    labels = [striate.Label(text, "person", None, "", "conv2", 0) for text in ("=1+1", "+1", "-1", "@a", "\t=1")]
    striate.write_labels(tmp_path / "names.csv", labels)
    for line in (tmp_path / "names.csv").read_text().splitlines()[1:]:
        assert line.split(",")[3].startswith(("'", "\"'"))


@pytest.mark.parametrize("text", ["\u0645\u06cc\u200c\u0631\u0648\u062f", "👩‍👩‍👧", "犬\u3000耳", "a\u202fb"])
def test_names_of_every_script_are_kept_as_they_are(client: striate.Client, text: str) -> None:
    assert client.set_label("conv2", 3, text).text == text
    client.delete_label("conv2", 3)


@pytest.mark.parametrize("text", ["a\nb", "a\0b", "\x1b[31m", "a\u2028b", "a\x85"])
def test_control_characters_and_line_breaks_are_refused(client: striate.Client, text: str) -> None:
    with pytest.raises(striate.InvalidArgument, match=r"label\.text: has a control character or a line break"):
        client.set_label("conv2", 3, text)


@pytest.mark.parametrize("score", [float("nan"), 5e30, -0.5])
def test_a_score_is_a_share(client: striate.Client, score: float) -> None:
    with pytest.raises(striate.InvalidArgument, match=r"label\.score: is .*; it should be 0 to 1"):
        client.set_label("conv2", 3, "edge", score=score)
