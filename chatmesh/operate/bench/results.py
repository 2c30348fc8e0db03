"""From runs to figures: medians over rounds with their spread, ratios to the floor of the same round, targets. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatmesh.operate.bench.measured import Run
from chatmesh.operate.bench.quantiles import median
from chatmesh.operate.bench.scenarios import BY_NAME, Figure


@dataclass(frozen=True, slots=True)
class Spread:
    """Of one number over rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        return cls(median(values), min(values), max(values)) if values else None

    def with_ends(self, ends: Sequence[Sequence[float]]) -> Spread:
        """Widened to what there was within single rounds."""
        least, most = ([end[at] for end in ends] for at in (0, 1))
        return Spread(self.median, min([self.least, *least]), max([self.most, *most]))

    def wire(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 4) for name in ("median", "least", "most")}


@dataclass(frozen=True, slots=True)
class Line:
    """A figure of a scenario. `ratio` is taken within each round, then over rounds; None without a floor."""

    scenario: str
    figure: Figure
    mesh: Spread
    floor: Spread | None
    ratio: Spread | None

    @property
    def is_met(self) -> bool | None:
        return self.figure.is_met(self.mesh.median, self.ratio.median if self.ratio else None)

    def wire(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario,
            "figure": self.figure.key,
            "title": self.figure.title,
            "unit": self.figure.unit,
            "mesh": self.mesh.wire(),
            "floor": self.floor.wire() if self.floor else None,
            "ratio": self.ratio.wire() if self.ratio else None,
            "target": self.figure.target,
            "target_is_ratio": self.figure.is_ratio,
            "more_is_better": self.figure.is_more_better,
            "met": self.is_met,
        }


@dataclass(frozen=True, slots=True)
class Result:
    """A whole benchmark."""

    began: str
    version: str
    machine: Mapping[str, object]
    settings: Mapping[str, object]
    runs: Sequence[Run]

    @property
    def is_result(self) -> bool:
        """Every run is one: nothing was lost, and nothing failed."""
        return all(run.is_result for run in self.runs)

    @property
    def void(self) -> list[Run]:
        return [run for run in self.runs if not run.is_result]

    def lines(self) -> list[Line]:
        """In the order of the scenarios. Void runs count for nothing."""
        names = dict.fromkeys(run.scenario for run in self.runs)
        lines = [self._line(name, figure) for name in names for figure in BY_NAME[name].figures]
        return [line for line in lines if line is not None]

    def summary(self) -> dict[str, Any]:
        """For `--save`: what a later one is compared with."""
        return {
            "is_result": self.is_result,
            "began": self.began,
            "version": self.version,
            "machine": dict(self.machine),
            "settings": dict(self.settings),
            "figures": [line.wire() for line in self.lines()],
        }

    def wire(self) -> dict[str, Any]:
        """For `--json`: every run too."""
        return {**self.summary(), "runs": [run.wire() for run in self.runs]}

    def costs(self) -> list[tuple[str, str, dict[str, float]]]:
        """Scenario, side, and CPU for a token in µs by role, over all rounds; of scenarios that have such a figure."""
        names = dict.fromkeys(run.scenario for run in self.runs)
        return [
            (name, side, parts)
            for name in names
            if any(figure.key == "cpu" for figure in BY_NAME[name].figures)
            for side in ("floor", "mesh")
            if (parts := self._parts(name, side))
        ]

    def _parts(self, scenario: str, side: str) -> dict[str, float]:
        good = [run for run in self._good(scenario, side) if run.chunks]
        chunks = sum(run.chunks for run in good)
        roles = dict.fromkeys(role for run in good for role in run.cpu)
        return {role: sum(run.cpu.get(role, 0.0) for run in good) / chunks * 1e6 for role in roles}

    def _line(self, scenario: str, figure: Figure) -> Line | None:
        mesh = self._by_round(scenario, "mesh", figure.key)
        floor = self._by_round(scenario, "floor", figure.key)
        spread = Spread.of(list(mesh.values()))
        if spread is None:
            return None
        ratios = [mesh[at] / floor[at] for at in mesh if floor.get(at)]
        ends = [run.spreads[figure.key] for run in self._good(scenario, "mesh") if figure.key in run.spreads]
        spread = spread.with_ends(ends)
        return Line(scenario, figure, spread, Spread.of(list(floor.values())), Spread.of(ratios))

    def _by_round(self, scenario: str, side: str, key: str) -> dict[int, float]:
        return {run.round: run.figures[key] for run in self._good(scenario, side) if key in run.figures}

    def _good(self, scenario: str, side: str) -> list[Run]:
        runs = [run for run in self.runs if (run.scenario, run.side) == (scenario, side)]
        return [run for run in runs if run.is_result]
