"""A whole run: a mesh of real processes, people who talk, faults, rest, and the verdict.

In: settings. Out: a `Report`; the folder with every log and store is the caller's to keep or to throw away. The seed
decides the schedule of faults and what is said; what exactly is hit is a matter of the machine's time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from chatmesh.client import Client
from chatmesh.errors import ChatmeshError
from chatmesh.operate.chaos.audit import check_logs, check_transcripts, wait_for_rest
from chatmesh.operate.chaos.check import Finding, Kind
from chatmesh.operate.chaos.configured import ACK_WAIT_SECONDS, KEEPALIVE_SECONDS
from chatmesh.operate.chaos.observer import observer
from chatmesh.operate.chaos.plan import Fault, Size, Step, schedule, zombies
from chatmesh.operate.chaos.recovery import Hit
from chatmesh.operate.chaos.report import Report
from chatmesh.operate.chaos.talk import Talk, replay
from chatmesh.operate.chaos.world import World

SILENCE_SECONDS = 3 * KEEPALIVE_SECONDS
REST_SECONDS = 45.0
"""For everything accepted to end once the faults are over: it takes about `ack_wait` and two seconds."""

REST_UNFENCED_SECONDS = 10.0
"""Without a fence some of it never ends."""

REPLAY_SECONDS = 15.0
REPLAYS_AT_ONCE = 8
TELL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked for. `seconds` of faults; start, rest and checks come on top."""

    seed: int
    seconds: float
    size: Size
    sessions: int
    faults: Sequence[Fault]
    is_fenced: bool = True

    def plan(self) -> list[Step]:
        if not self.is_fenced:
            return zombies(self.size, seconds=self.seconds, ack_wait_seconds=ACK_WAIT_SECONDS)
        return schedule(
            self.seed, self.faults, self.size, seconds=self.seconds, ack_wait_seconds=ACK_WAIT_SECONDS
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How a run stands, for whoever watches it."""

    phase: str
    seconds: float
    messages: int
    answered: int
    chunks: int
    faults: Counter[Fault]
    last: str
    findings: int


Tell = Callable[[Progress], None]


async def run(settings: Settings, folder: Path, tell: Tell) -> Report:
    """Raises ChatmeshError where the mesh does not come up. Leaves no process, however it ends."""
    world = World(folder, settings.size, is_fenced=settings.is_fenced)
    try:
        return await _Run(settings, world, tell).run()
    except ExceptionGroup as group:
        raise _first(group.subgroup(ChatmeshError) or group) from group
    finally:
        await world.close()


def _ended_early(task: asyncio.Task[None]) -> Finding:
    """Who listens or looks after the processes does so to the end: without this, one who does not would see nothing."""
    return Finding(Kind.PROCESS, task.get_name(), "", "this part of the test itself ended early")


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


class _Run:
    def __init__(self, settings: Settings, world: World, tell: Tell) -> None:
        self._settings = settings
        self._world = world
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._phase = "starting"
        self._last = ""
        self._talks: list[Talk] = []
        self._cuts: list[Hit] = []

    async def run(self) -> Report:
        with self._telling():
            await self._world.start()
            self._began = self._loop.time()
            random = Random(self._settings.seed)  # noqa: S311 - to be repeatable is what it is for
            client = Client(
                self._world.pods,
                silence_seconds=SILENCE_SECONDS,
                random=Random(random.random()),  # noqa: S311
            )
            async with client:
                self._talks = [
                    Talk(client, f"s{number + 1}", random.getrandbits(32), self._clock)
                    for number in range(self._settings.sessions)
                ]
                findings = await self._phases(client)
        return self._report(findings)

    async def _phases(self, client: Client) -> list[Finding]:
        """The phases; who listens and who looks after the processes do so to the end."""
        async with asyncio.TaskGroup() as lasting:
            tasks = [lasting.create_task(self._world.watch(), name="watch")]
            tasks += [
                lasting.create_task(talk.listen(), name=f"listen {talk.session_id}") for talk in self._talks
            ]
            try:
                await self._talk_under_faults()
                async with observer(self._world.servers) as broker:
                    self._phase = "coming to rest"
                    seconds = REST_SECONDS if self._settings.is_fenced else REST_UNFENCED_SECONDS
                    findings = await wait_for_rest(broker, self._talks, seconds=seconds)
                    self._phase = "reading all again"
                    await self._replay(client, findings)
                    self._phase = "checking"
                    findings += await check_transcripts(broker, self._talks)
                    findings += [_ended_early(task) for task in tasks if task.done()]
            finally:
                for task in tasks:
                    task.cancel()
        for talk in self._talks:
            talk.close()
            findings += [*talk.watch.verdict(talk.posted), *talk.failures]
        return [*findings, *check_logs(self._world.logs), *self._world.findings]

    async def _talk_under_faults(self) -> None:
        self._phase = "faults"
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for talk in self._talks:
                tasks.create_task(talk.speak(stop), name=f"speak {talk.session_id}")
            async with asyncio.TaskGroup() as hits:
                for step in self._settings.plan():
                    await self._sleep_until(step.at_seconds)
                    hits.create_task(self._hit(step), name=str(step.fault))
                await self._sleep_until(self._settings.seconds)
            stop.set()
            self._phase = "last answers"

    async def _hit(self, step: Step) -> None:
        self._last = f"{step.fault} {step.target + 1}"
        if step.fault is not Fault.READER_CUT:
            await self._world.hit(step, self._clock)
            return
        self._last = str(step.fault)
        for talk in Random(step.target).sample(self._talks, (len(self._talks) + 1) // 2):  # noqa: S311
            talk.cut()
        now = self._clock()
        self._cuts.append(Hit(step.fault, "readers", now, now))

    async def _replay(self, client: Client, findings: list[Finding]) -> None:
        gate = asyncio.Semaphore(REPLAYS_AT_ONCE)

        async def one(talk: Talk) -> None:
            async with gate:
                watch = await replay(client, talk, seconds=REPLAY_SECONDS)
            findings.extend(watch.verdict(talk.posted))

        async with asyncio.TaskGroup() as tasks:
            for talk in self._talks:
                tasks.create_task(one(talk), name=f"replay {talk.session_id}")

    # --- time and telling ------------------------------------------------------------------------------------------

    def _clock(self) -> float:
        """Seconds since the mesh was up."""
        return self._loop.time() - self._began

    async def _sleep_until(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds - self._clock()))

    @contextmanager
    def _telling(self) -> Iterator[None]:
        teller = self._loop.create_task(self._tell_again(), name="tell")
        try:
            yield
        finally:
            teller.cancel()

    async def _tell_again(self) -> None:
        while True:
            self._tell(self._progress())
            await asyncio.sleep(TELL_SECONDS)

    def _progress(self) -> Progress:
        talks = self._talks
        return Progress(
            phase=self._phase,
            seconds=self._clock(),
            messages=sum(len(talk.posted) for talk in talks),
            answered=sum(len(talk.watch.ended) for talk in talks),
            chunks=sum(talk.watch.chunks for talk in talks),
            faults=Counter(hit.fault for hit in self._hits),
            last=self._last,
            findings=sum(len(talk.watch.findings) for talk in talks) + len(self._world.findings),
        )

    @property
    def _hits(self) -> list[Hit]:
        return [*self._world.hits, *self._cuts]

    def _report(self, findings: list[Finding]) -> Report:
        return Report(
            seed=self._settings.seed,
            size=self._settings.size,
            is_fenced=self._settings.is_fenced,
            seconds=self._clock(),
            sessions=len(self._talks),
            fates=Counter(posted.fate for talk in self._talks for posted in talk.posted),
            chunks=sum(talk.watch.chunks for talk in self._talks),
            reconnects=sum(max(0, talk.connects - 1) for talk in self._talks),
            skipped=self._world.skipped,
            failed_starts=self._world.failed_starts,
            hits=self._hits,
            silences=[silence for talk in self._talks for silence in talk.silences],
            findings=findings,
        )
