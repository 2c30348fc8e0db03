"""One run: begin what is measured, begin the client, read the clocks at its first and its last moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatmesh.errors import ChatmeshError
from chatmesh.operate.bench.growth import GrowthWatch
from chatmesh.operate.bench.job import Job, Load, Outcome
from chatmesh.operate.bench.layout import Layout
from chatmesh.operate.bench.loader import Loader, loader
from chatmesh.operate.bench.measured import Run
from chatmesh.operate.bench.meters import busy_seconds
from chatmesh.operate.bench.quantiles import median
from chatmesh.operate.bench.scenarios import SOAK, STARTS
from chatmesh.operate.bench.served import START_SECONDS, Served

SETTLE_SECONDS = 1.0
"""Between readiness and the client: the first heartbeats and looks are over."""

IDLE_SETTLE_SECONDS = 1.0
IDLE_SECONDS = 5.0

REST_SECONDS = 120.0
"""So long is waited at most for servers that still have work from what came before."""

REST_LOOK_SECONDS = 1.0
REST_SHARE = 0.05
"""Of a core, all servers together: what they take while nothing is to be done is less."""

Tell = Callable[[str, int, int], None]
"""A phase, how many are done, and of how many (0: that is not known)."""


class Measurement:
    """Fills in a `Run`."""

    def __init__(self, run: Run, served: Served, folder: Path, layout: Layout, tell: Tell) -> None:
        self._run = run
        self._served = served
        self._folder = folder
        self._layout = layout
        self._tell = tell
        self._cpu: dict[str, float] = {}
        self._mark: dict[str, float] = {}
        self._marked_at = 0.0
        self._memory: dict[str, float] = {}
        self._growth: GrowthWatch | None = None
        self._busy = 0.0
        self._began = 0.0
        self._kept: dict[str, float] = {}
        self._left = 0.0

    async def measure(self, load: Load, name: str) -> None:
        """Raises ChatmeshError where there is nothing to measure: something did not come up, or ended."""
        self._tell("starting", 0, 0)
        try:
            await self._served.start()
            await asyncio.sleep(SETTLE_SECONDS)
            if load.kind == STARTS:
                await self._time_starts(load.sessions)
                return
            if load.kind == SOAK:
                self._growth = GrowthWatch(self._served.pids, load.seconds, self._served.metrics)
            job = Job(load, self._served.ports, name, self._served.broker)
            async with loader(job, self._folder, self._layout) as client:
                self._run.take(await self._until_outcome(client))
            self._served.check()
        finally:
            await self._served.close()

    async def _time_starts(self, count: int) -> None:
        """So many pods and workers join a mesh that is there, one after the other."""
        for role in ("pod", "worker"):
            seconds = []
            for number in range(count):
                self._tell(f"starting a {role}", number, count)
                seconds.append(await self._served.time_start(role))
            self._run.figures[role] = median(seconds)

    async def _until_outcome(self, client: Loader) -> Outcome:
        while True:
            said = await client.hear()
            match at := said.pop("at"):
                case "progress":
                    await self._look(said)
                case "measured":
                    self._end()
                    self._tell("checking every chunk", 0, 0)
                case "outcome":
                    self._strangers(outcome := Outcome.parse(said))
                    return outcome
                case _:
                    await self._at_pause(at, said)
                    await client.go()

    async def _at_pause(self, at: str, said: dict[str, Any]) -> None:
        """The client waits meanwhile."""
        match at:
            case "ready":
                self._begin()
            case "mark":
                self._mark = self._served.cpu()
                self._marked_at = asyncio.get_running_loop().time()
            case "counted" | "beside" | "moved" | "noted":
                self._take(at, said)
            case "apart":
                await self._go_apart()
            case "back":
                await self._come_back()
            case "step":
                await self._look_at_idle(said)
            case "watch":
                await self._watch(said["size"], said["seconds"])
            case "strike":
                self._tell("a worker is killed", 0, 0)
                await self._served.strike()
            case "behind":
                self._run.figures["kib"] = self._grown() / said["size"]
            case _:
                raise ChatmeshError(f"the benchmark's client said {at!r}")

    def _take(self, at: str, said: dict[str, Any]) -> None:
        """What the client has counted or seen since the mark."""
        match at:
            case "counted":
                self._count(said)
            case "beside":
                self._count_beside(said)
            case "moved":
                self._count_moves(said["count"])
            case "noted":
                self._note(said)

    async def _look(self, said: dict[str, Any]) -> None:
        self._tell(said["phase"], said["done"], said["of"])
        self._served.check()
        if self._growth is not None:
            await self._growth.look(asyncio.get_running_loop().time())

    def _begin(self) -> None:
        self._tell("measuring", 0, 0)
        self._memory = self._served.memory()
        self._busy = busy_seconds()
        self._began = asyncio.get_running_loop().time()
        self._cpu = self._served.cpu()

    def _end(self) -> None:
        now = self._served.cpu()
        self._run.spent(self._cpu, {role: now[role] + self._kept.get(role, 0.0) for role in now})
        self._run.wall_seconds = asyncio.get_running_loop().time() - self._began
        self._busy = busy_seconds() - self._busy
        self._run.memory = self._served.memory()
        if self._growth is not None:
            self._growth.tell(self._run)

    async def _go_apart(self) -> None:
        """The client has something to do that pods and workers should not see, and that is no part of what is measured."""
        self._keep()
        self._busy -= busy_seconds()
        self._left = asyncio.get_running_loop().time()
        await self._served.end_nodes()

    async def _come_back(self) -> None:
        self._tell("beginning pods and workers anew", 0, 0)
        async with asyncio.timeout(START_SECONDS):
            await self._served.begin_nodes()
        await self._rest()
        self._cpu = self._served.cpu()
        self._busy += busy_seconds()
        self._began += asyncio.get_running_loop().time() - self._left

    def _keep(self) -> None:
        """What was spent up to now: a process that is begun anew has a clock of its own."""
        spent = self._served.cpu()
        self._kept = {
            role: self._kept.get(role, 0.0) + spent[role] - self._cpu.get(role, 0.0) for role in spent
        }

    async def _rest(self) -> None:
        """Until the servers have nothing to do."""
        self._tell("waiting until the servers are at rest", 0, 0)
        until = asyncio.get_running_loop().time() + REST_SECONDS
        before = sum(self._served.cpu().values())
        while asyncio.get_running_loop().time() < until:
            await asyncio.sleep(REST_LOOK_SECONDS)
            self._served.check()
            spent, before = before, sum(self._served.cpu().values())
            if before - spent < REST_SHARE * REST_LOOK_SECONDS:
                return

    def _note(self, facts: dict[str, float]) -> None:
        """More of the last size."""
        disk = self._served.disk_kib() / 1024
        self._run.steps[-1] |= {"disk_mib": disk, **facts}
        self._run.figures["disk_mib"] = disk

    def _strangers(self, outcome: Outcome) -> None:
        """Everything that the machine did and we did not; this process's own few looks are among it."""
        ours = sum(self._run.cpu.values()) + outcome.cpu_seconds
        self._run.strangers = max(0.0, self._busy - ours) / max(self._run.wall_seconds, 0.1)

    def _count(self, said: dict[str, Any]) -> None:
        """What a request, or a token, costs at a size; the figures are those of the last size, beside the first one's."""
        step, parts = self._step(said.pop("size")), self._spent_on_each(said.pop("count"))
        step |= {"each": sum(parts.values()), **parts, **said}
        each, first = step["each"], self._run.steps[0]["each"]
        self._run.figures |= {"each": each, "growth": each / first}

    def _count_beside(self, said: dict[str, Any]) -> None:
        """The same at the same size, for somebody for whom it should be no matter."""
        parts, step = self._spent_on_each(said["count"]), self._run.steps[-1]
        step |= {f"beside: {role}": spent for role, spent in parts.items()}
        step |= {"beside": sum(parts.values()), "beside: first": said["first"]}
        self._run.figures["beside"] = step["beside"]

    def _step(self, size: float) -> dict[str, float]:
        """What is known of a size."""
        steps = self._run.steps
        if not steps or steps[-1]["size"] != size:
            steps.append({"size": size})
        return steps[-1]

    def _spent_on_each(self, count: int) -> dict[str, float]:
        """CPU since the mark in µs by role, for each of so many."""
        spent = self._served.cpu()
        return {role: (spent[role] - self._mark[role]) / count * 1e6 for role in spent}

    async def _watch(self, size: float, seconds: float) -> None:
        """What each role pays while nothing is said. The figures are what it pays more than at the first size."""
        self._tell(f"looking at a mesh of {size}", 0, 0)
        before = self._served.cpu()
        await asyncio.sleep(seconds)
        after, memory = self._served.cpu(), self._served.memory()
        step = self._step(size)
        for role in after:
            step[f"{role}_share"] = (after[role] - before[role]) / seconds * 100
            step[f"{role}_kib"] = memory[role]
            for key in (f"{role}_share", f"{role}_kib"):
                self._run.figures[key] = step[key] - self._run.steps[0][key]

    def _count_moves(self, count: int) -> None:
        """What the worker pays for one session that begins or ends to be read elsewhere, beside what it pays anyway."""
        seconds = asyncio.get_running_loop().time() - self._marked_at
        spent = self._served.cpu()["worker"] - self._mark["worker"]
        anyway = self._run.steps[-1]["worker_share"] / 100 * seconds
        self._run.figures["moved"] = max(0.0, spent - anyway) / count * 1e6

    def _grown(self) -> float:
        """KiB since it was begun."""
        return sum(self._served.memory().values()) - sum(self._memory.values())

    async def _look_at_idle(self, step: dict[str, Any]) -> None:
        """Memory and CPU while nothing is said."""
        size = step["size"]
        self._tell(f"looking at {size} connections", 0, 0)
        await asyncio.sleep(IDLE_SETTLE_SECONDS)
        before = self._served.cpu()
        await asyncio.sleep(IDLE_SECONDS)
        after = self._served.cpu()
        figures = {
            "kib": self._grown() / size,
            "idle_cpu": (sum(after.values()) - sum(before.values())) / IDLE_SECONDS * 100,
            "open_rate": (size - (self._run.steps[-1]["size"] if self._run.steps else 0)) / step["seconds"],
        }
        self._run.figures |= figures
        self._run.steps.append({"size": size, **figures})
