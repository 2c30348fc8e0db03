"""Writes docs/metrics.md anew: `python -m chatmesh.telemetry.generate [FILE]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from chatmesh.telemetry import metrics
from chatmesh.telemetry.traffic import Powers

HEAD = """\
# Metrics

`GET /metrics`, for Prometheus. No label carries an id. A worker serves them where `http.enabled` is true for it. This table is
made of the declarations (`python -m chatmesh.telemetry.generate`); what to do about them stands in
[operations](operations.md#metrics), alert rules and a dashboard in `deploy/`.

| metric | type | labels | meaning |
|---|---|---|---|
"""


def declared() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Name, type, labels and meaning of each, in the order of the declarations."""
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase | Powers):
            family = next(iter(metric.describe()))
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield name, family.type, tuple(metric._labelnames), family.documentation  # noqa: SLF001 - nothing public has them


def render() -> str:
    """The page."""
    rows = (
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {meaning} |\n"
        for name, kind, labels, meaning in declared()
    )
    return HEAD + "".join(rows).replace("|  |", "| |")


def main(arguments: list[str]) -> int:
    """Right at the root of the project without a file."""
    Path(arguments[0] if arguments else "docs/metrics.md").write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
