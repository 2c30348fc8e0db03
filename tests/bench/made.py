"""Runs and results, made up."""

from __future__ import annotations

from typing import Any

from chatmesh.operate.bench.measured import Run
from chatmesh.operate.bench.results import Result


def run(round_: int, side: str, scenario: str = "burst", **more: Any) -> Run:
    """A run with `figures` and whatever else."""
    made = Run(round_, scenario, side)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def result(*runs: Run) -> Result:
    return Result("2026-11-26T17:00:00+00:00", "0.1.0", {"cores": 2}, {"rounds": 1}, runs)


def both(round_: int, mesh: float, floor: float, key: str = "rate", scenario: str = "burst") -> list[Run]:
    """A round's two sides of one figure."""
    return [
        run(round_, "floor", scenario, figures={key: floor}),
        run(round_, "mesh", scenario, figures={key: mesh}),
    ]
