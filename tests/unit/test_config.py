"""Settings: flags over environment over file, and mistakes that are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from striate_service.config import EMBEDDED, load

FILE = """
port = 1111
metrics_port = 2222
max_queue = 3333

[[models]]
name = "pets"
architecture = "resnet18"
weights = "pets.pth"
preprocessing = { resize = 256, crop = 224 }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "striate.toml"
    path.write_text(FILE)
    return path


def test_flags_come_before_the_environment_and_that_before_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIATE_PORT", "4444")
    monkeypatch.setenv("STRIATE_METRICS_PORT", "5555")
    found = load(file, port=6666)
    assert (found.port, found.metrics_port, found.max_queue) == (6666, 5555, 3333)
    assert found.models[0].preprocessing is not None
    assert found.models[0].preprocessing.crop == 224


def test_without_any_setting_the_embedded_model_is_served() -> None:
    assert load().models == (EMBEDDED,)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"port": 70000}, "port"),
        ({"portt": 1}, "portt"),
        ({"models": []}, "at least one"),
        ({"models": ["parts", "parts"]}, "same name"),
        ({"models": ["resnet18"]}, "NAME=ARCHITECTURE:WEIGHTS"),
        ({"models": [{"name": "a", "architecture": "b", "weights": "c", "preprocessing": {"resize": 9, "crop": 10}}]},
         "resize"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        load(**changes)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.toml"):
        load(tmp_path / "nowhere.toml")


def test_what_kubernetes_sets_for_a_service_of_this_name_is_no_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "striate.toml").write_text("port = 4444")
    monkeypatch.setenv("STRIATE_PORT", "tcp://10.0.0.1:50051")
    monkeypatch.setenv("STRIATE_PORT_50051_TCP_ADDR", "10.0.0.1")
    assert load(tmp_path / "striate.toml").port == 4444
    (warning,) = caplog.messages
    assert "STRIATE_PORT is of a Kubernetes service" in warning
