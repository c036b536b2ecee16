"""Generate docs/metrics.md from the metrics in the code, or with --check tell whether it is up to date."""

from __future__ import annotations

from pathlib import Path

from generated import write_or_check
from striate_service.monitoring.metrics import Metrics

PAGE = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"


def render() -> str:
    """Return the page."""
    rows = (
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels) or ' '} | {meaning} |"
        for name, kind, labels, meaning in Metrics().describe()
    )
    head = [
        "# Metrics",
        "",
        "Prometheus text format at `http://HOST:9464/metrics` (`--metrics-port`). Written by `make docs`; do not edit.",
        "Beside these there are the Prometheus client's own `process_*`: processor time, memory and open files of the",
        "server's process, without its workers. Who asks for OpenMetrics gets exemplars: the ids of traces that",
        "callers send as `traceparent`.",
        "",
        "| name | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"


if __name__ == "__main__":
    write_or_check(PAGE, render(), __doc__)
