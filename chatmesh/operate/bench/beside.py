"""Figures of other systems, measured by somebody else in the same round, beside ours. Pure.

A file is JSON: a list of objects with `name` (of the system), `scenario`, `metric` (a figure's key), `value` in the
figure's unit, and `spread`, its least and most, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import orjson

from chatmesh.errors import ConfigError
from chatmesh.operate.bench.results import Spread
from chatmesh.operate.bench.scenarios import BY_NAME

_MEND = 'Write a list of {"name": "…", "scenario": "burst", "metric": "rate", "value": 1, "spread": [1, 2]}.'


@dataclass(frozen=True, slots=True)
class Others:
    """Their names, in the order in which the file names them, and what is known of them by scenario and figure."""

    names: tuple[str, ...] = ()
    figures: Mapping[tuple[str, str, str], Spread] = field(default_factory=dict)

    def of(self, name: str, scenario: str, metric: str) -> Spread | None:
        return self.figures.get((name, scenario, metric))


def read(file: Path) -> Others:
    """Raises ConfigError for what is no such file, and for a scenario or metric that there is not."""
    try:
        entries = orjson.loads(file.read_bytes())
    except OSError as error:
        what = f"others' figures can't be read ({error.strerror})"
        raise ConfigError(what, where=str(file), mend=_MEND) from error
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"no JSON: {error}", where=str(file), mend=_MEND) from error
    if not isinstance(entries, list):
        raise ConfigError("no list of figures", where=str(file), mend=_MEND)
    figures: dict[tuple[str, str, str], Spread] = {}
    for number, entry in enumerate(entries):
        where = f"{file}, entry {number + 1}"
        key, spread = _entry(entry, where)
        if key in figures:
            raise ConfigError(f"{' '.join(key)} is there twice", where=where, mend="Leave one of them.")
        figures[key] = spread
    return Others(tuple(dict.fromkeys(name for name, _, _ in figures)), figures)


def wire(others: Others, scenario: str, metric: str) -> dict[str, dict[str, float]]:
    """By name, as our own figures are."""
    found = ((name, others.of(name, scenario, metric)) for name in others.names)
    return {name: spread.wire() for name, spread in found if spread is not None}


def _entry(entry: Any, where: str) -> tuple[tuple[str, str, str], Spread]:
    try:
        name, scenario, metric = (str(entry[key]) for key in ("name", "scenario", "metric"))
        value = float(entry["value"])
        least, most = map(float, entry.get("spread") or (value, value))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError("no figure of a system", where=where, mend=_MEND) from error
    _check_known(scenario, metric, where)
    if not name or not all(map(isfinite, (value, least, most))) or least > most:
        raise ConfigError("no figure of a system", where=where, mend=_MEND)
    return (name, scenario, metric), Spread(value, least, most)


def _check_known(scenario: str, metric: str, where: str) -> None:
    if scenario not in BY_NAME:
        raise ConfigError(f"there is no scenario {scenario}", where=where, mend=_there_are(BY_NAME))
    keys = [figure.key for figure in BY_NAME[scenario].figures]
    if metric not in keys:
        raise ConfigError(f"{scenario} has no metric {metric}", where=where, mend=_there_are(keys))


def _there_are(names: Iterable[str]) -> str:
    return f"There are {', '.join(names)}."
