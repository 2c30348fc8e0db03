"""A result beside an earlier one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from chatmesh.errors import ConfigError
from chatmesh.operate.bench.results import Line, Result

Key = tuple[str, str]
"""A scenario and a figure of it."""


@dataclass(frozen=True, slots=True)
class Saved:
    """An earlier result. `figures`: the ratio to the floor, where there was one, and the value."""

    began: str
    settings: Mapping[str, object]
    figures: Mapping[Key, tuple[float | None, float]]


def read(file: Path) -> Saved:
    """Raises ConfigError for what `--save` or `--json` did not write."""
    try:
        body: dict[str, Any] = orjson.loads(file.read_bytes())
        return Saved(str(body["began"]), dict(body["settings"]), dict(map(_figure, body["figures"])))
    except OSError as error:
        what = f"the saved result can't be read ({error.strerror})"
        raise ConfigError(what, where=str(file), mend="Name one that `--save` or `--json` wrote.") from error
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            "no result of `chatmesh bench`", where=str(file), mend="Name one that `--save` or `--json` wrote."
        ) from error


def title(result: Result, saved: Saved) -> str:
    """Which one it is, and what was asked otherwise: more rounds are no other question."""
    names = [name for name in result.settings if name != "rounds"]
    other = [name for name in names if saved.settings.get(name) != result.settings[name]]
    asked = f", which was measured with other settings ({', '.join(other)})" if other else ""
    return f"Beside the result of {saved.began}{asked}."


def changes(lines: Sequence[Line], saved: Saved) -> dict[Key, str]:
    """How much each figure differs, as `+4 % × floor`: by its ratio where both have one, else by its value."""
    found = {}
    for line in lines:
        key = (line.scenario, line.figure.key)
        if key in saved.figures:
            found[key] = _change(line, *saved.figures[key])
    return found


def _change(line: Line, ratio: float | None, value: float) -> str:
    if line.ratio is not None and ratio:
        return f"{(line.ratio.median / ratio - 1) * 100:+.0f} % × floor"
    return f"{(line.mesh.median / value - 1) * 100:+.0f} %" if value else ""


def _figure(each: dict[str, Any]) -> tuple[Key, tuple[float | None, float]]:
    ratio = float(each["ratio"]["median"]) if each["ratio"] else None
    return (each["scenario"], each["figure"]), (ratio, float(each["mesh"]["median"]))
