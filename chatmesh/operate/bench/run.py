"""A whole benchmark: rounds, in each of them every scenario, and first the floor."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import psutil

from chatmesh import __version__
from chatmesh.devbroker import find_server
from chatmesh.errors import ChatmeshError, ConfigError
from chatmesh.operate.bench.job import Load
from chatmesh.operate.bench.layout import Layout, allow_files, layout, require_disk
from chatmesh.operate.bench.measure import Measurement
from chatmesh.operate.bench.measured import Run
from chatmesh.operate.bench.meters import quiet
from chatmesh.operate.bench.results import Result
from chatmesh.operate.bench.scenarios import SETTINGS, SOAK, Scenario
from chatmesh.operate.bench.served import START_SECONDS, FloorServed, MeshServed, Served


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked for. `overrides` are of the mesh's configuration; `broker`: one that is there already.
    `quiet_seconds`: so long is waited for a quiet machine before each run. `minutes`: of the soak, which goes on
    for as long as one likes. `processes`: of each pod, behind one port."""

    scenarios: Sequence[Scenario]
    rounds: int = 3
    pods: int = 1
    workers: int = 1
    layout: str = "pinned"
    broker: str | None = None
    overrides: Mapping[str, object] = field(default_factory=dict)
    is_quick: bool = False
    quiet_seconds: float = 0.0
    minutes: float | None = None
    processes: int = 1

    def load(self, scenario: Scenario) -> Load:
        load = scenario.quick if self.is_quick else scenario.load
        return replace(load, seconds=self.minutes * 60) if self.minutes and load.kind == SOAK else load


@dataclass(frozen=True, slots=True)
class Progress:
    """How it stands: run number `number` (from 1) of `runs`, and what is over already."""

    number: int
    runs: int
    run: Run
    phase: str
    done: int
    of: int
    over: Sequence[Run]


Tell = Callable[[Progress], None]


async def bench(settings: Settings, folder: Path, tell: Tell) -> Result:
    """Raises ChatmeshError before anything is measured where it can't be; what fails later is a run without a result.
    Leaves no process, however it ends."""
    if settings.broker is None:
        find_server()
    loads = [settings.load(scenario) for scenario in settings.scenarios]
    allow_files(max(load.connections for load in loads))
    if disk_bytes := max(load.disk_bytes for load in loads):
        if settings.broker is not None:
            raise ConfigError(
                "`deep` would fill the transcript of a broker that is there already",
                where=settings.broker,
                mend="Leave out `--broker`: it begins one of its own.",
            )
        require_disk(folder, disk_bytes)
    return await _Bench(settings, folder, tell).run()


class _Bench:
    def __init__(self, settings: Settings, folder: Path, tell: Tell) -> None:
        self._settings = settings
        self._folder = folder
        self._tell = tell
        self._layout: Layout = layout(settings.layout)
        self._plan = [
            Run(number + 1, scenario.name, side)
            for number in range(settings.rounds)
            for scenario in settings.scenarios
            if not (scenario.is_long and number)
            for side in (("floor", "mesh") if scenario.has_floor else ("mesh",))
        ]

    async def run(self) -> Result:
        began = datetime.now(UTC)
        by_name = {scenario.name: scenario for scenario in self._settings.scenarios}
        for number, run in enumerate(self._plan):
            await self._one(number, run, by_name[run.scenario])
        return Result(
            began=began.isoformat(timespec="seconds"),
            version=__version__,
            machine=machine(self._layout),
            settings={
                "quick": self._settings.is_quick,
                "rounds": self._settings.rounds,
                "pods": self._settings.pods,
                "workers": self._settings.workers,
                "processes": self._settings.processes,
                "minutes": self._settings.minutes,
                "set": dict(self._settings.overrides),
            },
            runs=self._plan,
        )

    async def _one(self, number: int, run: Run, scenario: Scenario) -> None:
        folder = self._folder / f"{number + 1}-{run.scenario}-{run.side}"
        folder.mkdir()

        def tell(phase: str, done: int, of: int) -> None:
            over = self._plan[:number]
            self._tell(Progress(number + 1, len(self._plan), run, phase, done, of, over))

        tell("waiting for a quiet machine" if self._settings.quiet_seconds else "starting", 0, 0)
        await quiet(self._settings.quiet_seconds)
        measurement = Measurement(run, self._served(run, scenario, folder), folder, self._layout, tell)
        try:
            await measurement.measure(self._settings.load(scenario), f"b{secrets.token_hex(4)}")
        except (ChatmeshError, TimeoutError) as error:
            run.failure = str(error) or f"something was not there within {START_SECONDS:g} s; see {folder}"

    def _served(self, run: Run, scenario: Scenario, folder: Path) -> Served:
        if run.side == "floor":
            return FloorServed(folder, self._layout)
        return MeshServed(
            folder,
            self._layout,
            pods=max(scenario.pods, self._settings.pods),
            workers=max(scenario.workers, self._settings.workers),
            processes=self._settings.processes,
            settings={**SETTINGS, **scenario.settings, **self._settings.overrides},
            broker=self._settings.broker,
        )


def machine(layout: Layout) -> dict[str, object]:
    """Where it was measured."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "cores": psutil.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30)),
        "python": platform.python_version(),
        "uvloop": find_spec("uvloop") is not None,
        "layout": layout.name,
    }
