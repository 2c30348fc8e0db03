"""One person after the other, on an idle system: how long does the first token take?"""

from __future__ import annotations

import asyncio

from chatmesh.operate.bench.job import Job, Outcome
from chatmesh.operate.bench.load.checked import check
from chatmesh.operate.bench.load.reader import Asker, connect, now, opened
from chatmesh.operate.bench.load.steering import Steering
from chatmesh.operate.bench.load.wire import asking, reading
from chatmesh.operate.bench.quantiles import curve, quantile

SETTLE_SECONDS = 0.02
PATIENCE_SECONDS = 10.0
WARM_UP = 5
"""Asked before, and not counted: what is imported or connected at first use."""


async def firsts(job: Job, steering: Steering) -> Outcome:
    """From the writing of the request to the arrival of the first token's bytes."""
    load, outcome = job.load, Outcome()
    asker = await connect(Asker(), job.ports[0])
    for number in range(WARM_UP):
        await _one(job, asker, f"{job.name}-w{number}", Outcome())
    await steering.ready()
    waits: list[float] = []
    with steering.telling(lambda: len(waits), load.sessions):
        for number in range(load.sessions):
            wait = await _one(job, asker, f"{job.name}-{number}", outcome)
            waits.append(wait)
    steering.measured(outcome)
    outcome.figures = {"first_p50": quantile(waits, 0.5), "first_p99": quantile(waits, 0.99)}
    outcome.curves["first"] = curve(waits)
    asker.close()
    return outcome


async def _one(job: Job, asker: Asker, session_id: str, outcome: Outcome) -> float:
    """In ms. An answer that does not begin has taken all of its time."""
    reader = await opened(job.ports[-1], reading(session_id))
    await asyncio.sleep(SETTLE_SECONDS)
    began = now()
    status = await asker.ask(asking(session_id, "m1", tokens=job.load.tokens, rate=0))
    await asyncio.wait([reader.done], timeout=PATIENCE_SECONDS)
    outcome.tally.refused += status != 202
    outcome.tally.add(check(reader.events(), session_id, job.load.tokens))
    reader.close()
    return ((reader.first_token_at() or now()) - began) * 1000
