"""docs/configuration.md and docs/operations.md say the truth about defaults and about what has no effect yet."""

from __future__ import annotations

import re

from chatmesh.config import Config
from chatmesh.telemetry import metrics
from tests.docs.pages import ROOT, page, rows

CONFIGURATION = page("docs/configuration.md")
_CODE = {
    path: path.read_text(encoding="utf-8")
    for path in (ROOT / "chatmesh").rglob("*.py")
    if not path.is_relative_to(ROOT / "chatmesh" / "config")
}


def test_every_default_on_the_page_is_the_default() -> None:
    wrong, looked = [], 0
    for keys, default, _ in rows(CONFIGURATION.section("What to choose")):
        for key, said in zip(re.findall(r"`([\w.]+)`", keys), default.split(", "), strict=False):
            value: object = Config()
            for name in key.split("."):
                value = getattr(value, name)
            if isinstance(value, int | float):
                looked += 1
                wrong += [key] if _bytes(said) != value else []
    assert looked > 15
    assert not wrong


def test_every_metric_is_measured() -> None:
    code = "".join(_CODE.values())
    fields = [
        name
        for name, metric in vars(metrics).items()
        if hasattr(metric, "describe") and not isinstance(metric, type)
    ]
    assert not [field for field in fields if f"metrics.{field}" not in code]


def _bytes(text: str) -> float:
    """`256 MiB` or a plain number."""
    number, _, unit = text.partition(" ")
    return float(number) * {"": 1, "MiB": 2**20, "GiB": 2**30}[unit]
