"""The same work at different sizes: in a session that has said much, and among many sessions."""

from __future__ import annotations

import asyncio
from functools import partial

from chatmesh.operate.bench.job import Job, Outcome
from chatmesh.operate.bench.load.checked import check
from chatmesh.operate.bench.load.inline import ask_inline
from chatmesh.operate.bench.load.reader import Asker, Reader, connect, now, opened, together
from chatmesh.operate.bench.load.steering import Steering
from chatmesh.operate.bench.load.talks import SETTLE_SECONDS
from chatmesh.operate.bench.load.wire import asking, reading
from chatmesh.operate.bench.quantiles import quantile

ASKED = 50
"""Messages that are measured at each size of a session."""

OPENED = 20
AT_ONCE = 100
"""Answers that run at a time, however many people there are."""


async def long(job: Job, steering: Steering) -> Outcome:
    """One session that grows; at each size `ASKED` messages and `OPENED` new readers. Beside it, behind the same broker,
    as many messages in a session that has just begun: what both pay is not the length's."""
    outcome, said = Outcome(), 0
    await steering.ready()
    for size in job.load.steps:
        with steering.telling(lambda: said, job.load.steps[-1]):  # noqa: B023 - told while this size is reached
            while said < size:
                await ask_inline(job, job.name, said, outcome)
                said += 1
        await steering.pause("mark")
        firsts = await _asked(job, job.name, said, outcome)
        said += ASKED
        await steering.pause("counted", size=size, count=ASKED, first=quantile(firsts, 0.5))
        opens = [await _open(job) for _ in range(OPENED)]
        outcome.figures |= {"first": quantile(firsts, 0.5), "open": quantile(opens, 0.5)}
        await steering.pause("mark")
        firsts = await _asked(job, f"{job.name}-{size}", 0, outcome)
        await steering.pause("beside", count=ASKED, first=quantile(firsts, 0.5))
    steering.measured(outcome)
    return outcome


async def _asked(job: Job, session_id: str, said: int, outcome: Outcome) -> list[float]:
    return [await ask_inline(job, session_id, said + number, outcome) for number in range(ASKED)]


async def _open(job: Job) -> float:
    """A stream of that session, to its opening block, in ms."""
    began = now()
    reader = await opened(job.ports[0], reading(job.name))
    wait = (now() - began) * 1000
    reader.close()
    return wait


async def many(job: Job, steering: Steering) -> Outcome:
    """As many people as each step says have a stream open, and get one answer each, `AT_ONCE` at a time."""
    outcome, load = Outcome(), job.load
    askers = [await connect(Asker(), job.ports[number % len(job.ports)]) for number in range(AT_ONCE)]
    await steering.ready()
    for size in load.steps:
        readers = await together([partial(_reader, job, size, number) for number in range(size)])
        await asyncio.sleep(SETTLE_SECONDS)
        await steering.pause("mark")
        began = now()
        with steering.telling(partial(_done, readers), size):
            await _everybody(job, size, readers, askers, outcome)
        seconds = now() - began
        count = size * load.tokens
        await steering.pause("counted", size=size, count=count, rate=count / seconds)
        for number, reader in enumerate(readers):
            outcome.tally.add(check(reader.events(), _name(job, size, number), load.tokens))
            reader.close()
    steering.measured(outcome)
    return outcome


async def _everybody(
    job: Job, size: int, readers: list[Reader], askers: list[Asker], outcome: Outcome
) -> None:
    """Each asker takes the next one until there is none."""
    numbers = iter(range(size))

    async def ask(asker: Asker) -> None:
        for number in numbers:
            request = asking(_name(job, size, number), "m1", tokens=job.load.tokens, rate=0)
            status = await asker.ask(request)
            outcome.tally.refused += status != 202
            if status == 202:
                await asyncio.wait([readers[number].done], timeout=job.load.patience_seconds)

    async with asyncio.TaskGroup() as tasks:
        for asker in askers:
            tasks.create_task(ask(asker))


async def _reader(job: Job, size: int, number: int) -> Reader:
    return await opened(job.ports[number % len(job.ports)], reading(_name(job, size, number)))


def _name(job: Job, size: int, number: int) -> str:
    return f"{job.name}-{size}-{number}"


def _done(readers: list[Reader]) -> int:
    return sum(reader.done.done() for reader in readers)
