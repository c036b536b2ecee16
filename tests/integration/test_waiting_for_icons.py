"""Results are there at once, and are completed by their icons as they are rendered."""

from __future__ import annotations

import pickle
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import striate
from conftest import answer
from PIL import Image
from striate_service.local import LocalServer
from striate_service.models.embedded.pictures import draw

LAYER, GROUPS = "mixed3a", 5  # more than are optimized together


async def test_a_result_is_there_at_once_and_completed_by_its_icons(
    either: Any, photo: np.ndarray, request: pytest.FixtureRequest
) -> None:
    first = 20 * ("blocking" in request.node.name)  # other groups for each client: icons are rendered only once
    own = photo[first:, first:].copy()
    groups = await answer(either.factorize(own, LAYER, components=GROUPS, classes=0))
    assert [group.icon for group in groups.groups] == [None] * GROUPS
    assert groups.pending_icons == GROUPS
    reports: list[striate.IconProgress] = []
    quick: dict[int, bytes] = {}

    def look(report: striate.IconProgress) -> None:
        reports.append(report)
        for icon in report.previews:
            assert (icon.preview, icon.status, icon.image.size) == (True, "queued", (128, 128))
            quick[id(icon)] = icon.data
        assert groups.pending_icons == GROUPS - report.completed

    same = await answer(groups.wait_for_icons(progress=look))
    assert same is groups
    assert groups.pending_icons == 0
    assert quick, "when the first are finished all others have a quick picture"
    for icon in groups.icons:
        assert not icon.preview
        assert icon.data != quick.get(id(icon))
    assert [group.icon.size for group in groups.groups] == [(128, 128)] * GROUPS
    assert (reports[0].total, reports[-1].completed, reports[-1].progress) == (GROUPS, GROUPS, 1)
    told = [id(icon) for report in reports for icon in report.icons]
    assert sorted(told) == sorted(map(id, groups.icons))
    again = await answer(either.factorize(own, LAYER, components=GROUPS, classes=0))
    assert again.icons == groups.icons, "from the store"
    reports.clear()
    await answer(again.wait_for_icons(progress=reports.append))
    assert reports == [], "nothing is missing"


async def test_a_timeout_ends_the_waiting_and_not_the_result(either: Any, photo: np.ndarray) -> None:
    words = await answer(either.semantic_dictionary(photo, LAYER, neurons=2, recipe="maco", classes=0))
    missing = words.pending_icons
    assert missing > 20
    await answer(words.wait_for_icons(timeout=0.5))
    assert 0 < words.pending_icons <= missing


async def test_a_copied_result_belongs_to_no_client(either: Any, photo: np.ndarray) -> None:
    words = await answer(either.semantic_dictionary(photo, LAYER, neurons=1, positions=[(3, 3)], classes=0))
    copied = pickle.loads(pickle.dumps(words))
    with pytest.raises(striate.StriateError, match=r"client\.wait_for_icons"):
        copied.wait_for_icons()
    assert await answer(either.wait_for_icons([words, copied])) == [words, copied]
    assert copied.pending_icons == words.pending_icons == 0
    assert copied.at(3, 3)[0].icon.tobytes() == words.at(3, 3)[0].icon.tobytes()


def test_the_most_telling_icons_come_first(client: striate.Client, photo: np.ndarray) -> None:
    words = client.semantic_dictionary(
        photo, LAYER, neurons=4, positions=[(2, 2), (9, 4), (12, 12)], position_icons=True, classes=0
    )
    total = {channel: words.activations[words.channels == channel].sum() for channel in words.neurons}
    ranked = sorted(total, key=lambda channel: -total[channel])
    assert words.icons[:3] == words.position_icons
    assert [id(icon) for icon in words.icons[3:]] == [id(words.neurons[channel].icon_file) for channel in ranked]
    assert words.telling_icons == words.icons, "so few positions matter all"


def test_the_strongest_of_each_region_are_pictured_unless_all_are_asked_for(
    client: striate.Client, photo: np.ndarray
) -> None:
    words = client.semantic_dictionary(photo, "mixed3b", neurons=4, classes=0, recipe="maco")
    telling = {id(icon) for icon in words.telling_icons}
    assert 30 <= len(telling) <= 33 < len(words.icons)
    row, column = np.unravel_index(words.magnitude.argmax(), words.magnitude.shape)
    assert {id(neuron.icon_file) for neuron in words.at(int(row), int(column))} <= telling
    peaks = [
        (words.magnitude[row, column], row, column)
        for row, column in words.positions.tolist()
        if words.magnitude[row, column]
        == words.magnitude[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].max()
    ]
    for _, row, column in sorted(peaks, reverse=True)[:5]:
        assert {id(neuron.icon_file) for neuron in words.at(row, column)} <= telling
    assert [id(icon) for icon in words.icons[: len(telling)]] == [id(icon) for icon in words.telling_icons]


def test_fewer_neurons_are_pictured_where_fewer_are_asked_for(client: striate.Client, photo: np.ndarray) -> None:
    words = client.semantic_dictionary(photo, "mixed3b", neurons=4, classes=0, recipe="maco")
    few = words.most_telling_icons(12)
    assert 12 <= len(few) <= 15
    assert {id(icon) for icon in few} <= {id(icon) for icon in words.telling_icons}


def test_a_page_says_what_it_lacks(client: striate.Client, photo: np.ndarray, tmp_path: Path) -> None:
    groups = client.factorize(photo, "mixed3b", components=2, classes=0)
    text = striate.show.page("a photo", [groups, groups], tmp_path / "page.html", completed_by="striate report <a>")
    assert "2 of 2 icons are not rendered yet. This completes the page: <code>striate report &lt;a&gt;</code>" in text
    groups.wait_for_icons()
    assert 'id="missing"' not in groups.to_html(tmp_path / "page.html")
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def pending_icons(server: LocalServer) -> float:
    text = urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics").read().decode()
    return sum(map(float, re.findall(r"^striate_icons_pending(?:{.*})? (\S+)$", text, re.MULTILINE)))


def test_a_command_that_is_stopped_leaves_a_whole_page_and_nothing_queued(
    server: LocalServer, client: striate.Client, tmp_path: Path
) -> None:
    Image.fromarray(draw(3, "house").image).save(tmp_path / "house.png")
    command = [str(Path(sys.executable).with_name("striate")), "dictionary", "house.png", "-l", "conv2"]
    command += ["--recipe", "maco", "-o", "page.html", "--server", server.target]
    running = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which shells ignore in the background
    )
    assert running.stderr
    assert running.stderr.readline() == "wrote page.html\n"
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "icons are missing; this completes the page: striate dictionary house.png -l conv2" in said
    assert "Traceback" not in said
    page = (tmp_path / "page.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert "--recipe maco" in page
    assert "data-written" not in page, "nobody completes it any more"
    while pending_icons(server):
        time.sleep(0.05)
    words = client.semantic_dictionary(tmp_path / "house.png", "conv2", recipe="maco")
    assert any(icon.status == "queued" for icon in words.most_telling_icons(24)), (
        "they have been forgotten, not rendered"
    )
