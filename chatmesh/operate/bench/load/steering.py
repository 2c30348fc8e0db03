"""The client's side of the talk with the benchmark: it says how far it is, and waits where it shall be measured."""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import orjson

from chatmesh.operate.bench.job import Outcome
from chatmesh.operate.bench.load.reader import now

TELL_SECONDS = 0.5


class Steering:
    """Lines of JSON on stdout, `go` on stdin."""

    def __init__(self) -> None:
        self._stdin = asyncio.StreamReader()
        self._began = 0.0
        self._cpu = 0.0

    async def open(self) -> dict[str, Any]:
        """Takes stdin; returns the job."""
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self._stdin), sys.stdin)
        job: dict[str, Any] = orjson.loads(await self._stdin.readline())
        return job

    async def ready(self) -> float:
        """All is set up: the measurement begins when the benchmark says so. The monotonic time when it does."""
        gc.collect()
        gc.freeze()  # what is set up is not looked at again
        gc.disable()
        await self.pause("ready")
        self._cpu = _cpu_seconds()
        self._began = now()
        return self._began

    async def pause(self, at: str, **facts: object) -> None:
        """Says where it is and waits for `go`. The end of stdin is the end of the benchmark, and so ours."""
        self.say(at, **facts)
        if not await self._stdin.readline():
            raise SystemExit(1)

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[None]:
        """What is done within is no part of what is measured, at the client or at the servers, and pods and workers see nothing of
        it: they are ended before, and new ones begun behind it. Everything is at rest at its end."""
        cpu, began = _cpu_seconds(), now()
        await self.pause("apart")
        yield
        await self.pause("back")
        self._cpu += _cpu_seconds() - cpu
        self._began += now() - began

    def measured(self, outcome: Outcome) -> None:
        """The measurement is over; what it cost the client."""
        outcome.cpu_seconds = _cpu_seconds() - self._cpu
        outcome.wall_seconds = now() - self._began
        self.say("measured")
        gc.enable()

    def say(self, at: str, **facts: object) -> None:
        sys.stdout.write(orjson.dumps({"at": at, **facts}).decode() + "\n")
        sys.stdout.flush()

    @contextmanager
    def telling(self, done: Callable[[], int], of: int, *, phase: str = "measuring") -> Iterator[None]:
        """Says twice a second how many are done, and of what."""
        task = asyncio.get_running_loop().create_task(self._tell(done, of, phase), name="tell")
        try:
            yield
        finally:
            task.cancel()

    async def _tell(self, done: Callable[[], int], of: int, phase: str) -> None:
        while True:
            self.say("progress", done=done(), of=of, phase=phase)
            await asyncio.sleep(TELL_SECONDS)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
