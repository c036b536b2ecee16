"""Alerts fire in their case, and stay silent in the neighboring one: Prometheus's own promtool says so."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
PROMTOOL = shutil.which("promtool")

pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")

INSTANCE = 'instance="a",job="striate"'
UP = (f"striate_build_info{{{INSTANCE}}}", "1+0x200")
# By alert: series in which it fires, and series in which it does not.
CASES: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {
    "StriateAbsent": ([], []),
    "StriateNoWorker": (
        [(f'striate_workers{{{INSTANCE},device="cpu",state="idle"}}', "0+0x200")],
        [(f'striate_workers{{{INSTANCE},device="cpu",state="busy"}}', "1+0x200")],
    ),
    "StriateWorkersMissing": (
        [
            (f'striate_workers{{{INSTANCE},device="cpu",state="idle"}}', "1+0x200"),
            (f'striate_workers{{{INSTANCE},device="cpu",state="down"}}', "1+0x200"),
        ],
        [
            (f'striate_workers{{{INSTANCE},device="cpu",state="idle"}}', "2+0x200"),
            (f'striate_workers{{{INSTANCE},device="cpu",state="down"}}', "0+0x200"),
        ],
    ),
    "StriateWorkersDie": (
        [(f'striate_worker_failed_starts_total{{{INSTANCE},device="cpu"}}', "0+1x200")],
        [(f'striate_worker_restarts_total{{{INSTANCE},device="cpu"}}', "0 1+0x200")],
    ),
    "StriateErrors": (
        [
            (f'striate_requests_total{{{INSTANCE},method="Factorize",code="INTERNAL"}}', "0+2x200"),
            (f'striate_requests_total{{{INSTANCE},method="Factorize",code="OK"}}', "0+98x200"),
        ],
        [
            (f'striate_requests_total{{{INSTANCE},method="Factorize",code="INVALID_ARGUMENT"}}', "0+50x200"),
            (f'striate_requests_total{{{INSTANCE},method="Factorize",code="OK"}}', "0+50x200"),
        ],
    ),
    "StriateRefusing": (
        [
            (f'striate_requests_total{{{INSTANCE},method="Factorize",code="RESOURCE_EXHAUSTED"}}', "0+10x200"),
            (f'striate_requests_total{{{INSTANCE},method="Factorize",code="OK"}}', "0+90x200"),
        ],
        [
            (f'striate_requests_total{{{INSTANCE},method="Factorize",code="RESOURCE_EXHAUSTED"}}', "0+1x200"),
            (f'striate_requests_total{{{INSTANCE},method="Factorize",code="OK"}}', "0+99x200"),
        ],
    ),
    "StriateDeadlines": (
        [
            (f'striate_requests_total{{{INSTANCE},method="Factorize",code="DEADLINE_EXCEEDED"}}', "0+10x200"),
            (f'striate_requests_total{{{INSTANCE},method="Factorize",code="OK"}}', "0+90x200"),
        ],
        [
            (f'striate_requests_total{{{INSTANCE},method="Factorize",code="CANCELLED"}}', "0+10x200"),
            (f'striate_requests_total{{{INSTANCE},method="Factorize",code="OK"}}', "0+90x200"),
        ],
    ),
    "StriateDrift": (
        [(f'striate_drift_score{{{INSTANCE},monitor="prod",layer="mixed4d"}}', "1.1+0x200")],
        [(f'striate_drift_score{{{INSTANCE},monitor="prod",layer="mixed4d"}}', "0.9+0x200")],
    ),
    "StriateNovelty": (
        [(f'striate_novelty{{{INSTANCE},monitor="prod",basis="b"}}', "0.2+0x120 0.4+0x80")],
        [(f'striate_novelty{{{INSTANCE},monitor="prod",basis="b"}}', "0.2+0x120 0.22+0x80")],
    ),
    "StriateMonitorIdle": (
        [(f'striate_observed_images{{{INSTANCE},monitor="prod"}}', "100+0x200")],
        [(f'striate_observed_images{{{INSTANCE},monitor="prod"}}', "100+1x200")],
    ),
}


def written() -> list[str]:
    return re.findall(r"alert: (\w+)", ALERTS.read_text())


def test_every_alert_has_a_case_and_an_entry_of_the_runbook() -> None:
    assert written() == list(CASES)
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(CASES)
    anchors = re.findall(r"runbook\.md#(\w+)", ALERTS.read_text())
    assert anchors == [alert.lower() for alert in written()]


@pytest.mark.parametrize("alert", written())
def test_an_alert_fires_in_its_case_only(alert: str, tmp_path: Path) -> None:
    fires, silent = CASES[alert]
    tests = [
        _test(alert, [*fires, *([] if alert == "StriateAbsent" else [UP])]),
        _test(alert, [*silent, UP]),
    ]
    for number, (test, fired) in enumerate(zip(tests, (True, False), strict=True)):
        assert _fires(alert, test, tmp_path / f"{number}.yml") is fired


def _test(alert: str, series: list[tuple[str, str]]) -> dict[str, Any]:
    """Return promtool's test that an alert does not fire."""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series],
        "alert_rule_test": [{"eval_time": "150m", "alertname": alert, "exp_alerts": []}],
    }


def _fires(alert: str, test: dict[str, Any], file: Path) -> bool:
    """Return whether an alert fires: promtool is told that none does, and contradicts."""
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}))
    assert PROMTOOL
    checked = subprocess.run([PROMTOOL, "test", "rules", str(file)], capture_output=True, text=True)
    if checked.returncode == 0:
        return False
    assert f'alertname="{alert}"' in checked.stdout + checked.stderr, checked.stdout + checked.stderr
    return True


def test_rules_are_sound() -> None:
    assert PROMTOOL
    checked = subprocess.run([PROMTOOL, "check", "rules", str(ALERTS)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
