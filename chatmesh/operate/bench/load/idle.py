"""People who have a page open and say nothing."""

from __future__ import annotations

import asyncio
from functools import partial

from chatmesh.operate.bench.job import Job, Outcome
from chatmesh.operate.bench.load.reader import Reader, now, opened, together
from chatmesh.operate.bench.load.steering import Steering
from chatmesh.operate.bench.load.wire import reading


async def idle(job: Job, steering: Steering) -> Outcome:
    """Opens as many streams as each step says, and is measured between."""
    outcome = Outcome()
    readers: list[Reader] = []
    await steering.ready()
    for step in job.load.steps:
        with steering.telling(partial(len, readers), job.load.steps[-1]):
            began = now()
            readers += await together([partial(_open, job, number) for number in range(len(readers), step)])
        await steering.pause("step", size=step, seconds=now() - began)
    steering.measured(outcome)
    outcome.tally.expected = outcome.tally.received = len(readers)
    outcome.tally.refused = sum(not reader.is_open for reader in readers)
    for reader in readers:
        reader.close()
    await asyncio.sleep(0)
    return outcome


async def _open(job: Job, number: int) -> Reader:
    return await opened(job.ports[number % len(job.ports)], reading(f"{job.name}-{number}"), keeps=False)
