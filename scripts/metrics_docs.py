"""Generate docs/metrics.md from the metrics in the code, or with --check tell whether it is up to date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

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
        "",
        "| name | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the page is stale")
    if not parser.parse_args().check:
        PAGE.write_text(render())
    elif not PAGE.is_file() or PAGE.read_text() != render():
        sys.exit("docs/metrics.md is stale. Run `make docs`.")


if __name__ == "__main__":
    main()
