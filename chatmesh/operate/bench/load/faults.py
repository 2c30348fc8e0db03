"""People who are struck by something in the midst of their answers: a worker's death, and their own stop."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from chatmesh.errors import ChatmeshError
from chatmesh.operate.bench.job import Job, Outcome
from chatmesh.operate.bench.load.checked import check, check_stopped
from chatmesh.operate.bench.load.events import Told
from chatmesh.operate.bench.load.reader import Asker, Reader, connect, now, opened
from chatmesh.operate.bench.load.steering import Steering
from chatmesh.operate.bench.load.talks import SETTLE_SECONDS, ask_all, open_talks
from chatmesh.operate.bench.load.wire import asking, reading, stopping
from chatmesh.operate.bench.quantiles import curve, quantile

LOOK_SECONDS = 0.02
PATIENCE_SECONDS = 10.0

MIDST_TOKENS = 10
"""Into the answers, at 20 a second: what a worker took in its last tenth of a second is not on its page of leases yet, so nobody gives it
back before the lease ends."""


async def takeover(job: Job, steering: Steering) -> Outcome:
    """Everybody has the beginning of an answer when the benchmark kills a worker. Measured is the silence of those whose
    answer another one continues, from the last chunk of the dead one to the first of the next."""
    load, outcome = job.load, Outcome()
    held = await open_talks(job)
    await asyncio.sleep(SETTLE_SECONDS)
    await steering.ready()
    await ask_all(held, load)
    readers = [talk.readers[0] for talk in held]
    await begun(readers, MIDST_TOKENS)
    await steering.pause("strike")
    with steering.telling(lambda: sum(reader.done.done() for reader in readers), len(readers)):
        await asyncio.wait([reader.done for reader in readers], timeout=load.patience_seconds)
    steering.measured(outcome)
    silences = []
    for talk in held:
        events = talk.readers[0].events()
        outcome.tally.refused += talk.status != 202
        outcome.tally.add(check(events, talk.session_id, load.tokens))
        silences += _silences(events)
        talk.readers[0].close()
        talk.asker.close()
    if not silences:
        raise ChatmeshError("no answer was taken over: the worker that was killed had none")
    outcome.figures = {"silence_p50": quantile(silences, 0.5), "silence_most": max(silences)}
    outcome.curves["silence"] = curve(1000 * each for each in silences)
    return outcome


async def begun(readers: list[Reader], tokens: int = 1) -> None:
    """Until each of them has so many tokens. Raises ChatmeshError where one does not get them."""
    until = now() + PATIENCE_SECONDS
    while not all(reader.tokens >= tokens for reader in readers):
        if now() > until:
            raise ChatmeshError(f"an answer had not begun after {PATIENCE_SECONDS:g} s")
        await asyncio.sleep(LOOK_SECONDS)


def _silences(events: list[Told]) -> list[float]:
    """Seconds between two chunks of two attempts."""
    chunks = [event for event in events if event.name == "message"]
    return [
        after.at - before.at
        for before, after in pairwise(chunks)
        if before.body["metadata"].get("attempt") != after.body["metadata"].get("attempt")
    ]


async def stops(job: Job, steering: Steering) -> Outcome:
    """One after the other has a first token of a model that then says nothing, and stops it. From the writing of the stop
    to the arrival of the final chunk: the provider is ended before that."""
    outcome = Outcome()
    asker = await connect(Asker(), job.ports[0])
    await steering.ready()
    waits: list[float] = []
    with steering.telling(lambda: len(waits), job.load.sessions):
        for number in range(job.load.sessions):
            wait = await stop(job, asker, f"{job.name}-{number}", outcome)
            waits.append(wait)
    steering.measured(outcome)
    outcome.figures = {"stop_p50": quantile(waits, 0.5), "stop_p99": quantile(waits, 0.99)}
    outcome.curves["stop"] = curve(waits)
    asker.close()
    return outcome


async def stop(job: Job, asker: Asker, session_id: str, outcome: Outcome) -> float:
    """One person's, in a session of its own: from the writing of the stop to the final chunk, in ms."""
    reader = await opened(job.ports[-1], reading(session_id))
    load = job.load
    outcome.tally.refused += (
        await asker.ask(asking(session_id, "m1", tokens=load.tokens, rate=load.rate)) != 202
    )
    await begun([reader])
    began = now()
    outcome.tally.refused += await asker.ask(stopping(session_id, "m1")) != 202
    await asyncio.wait([reader.done], timeout=PATIENCE_SECONDS)
    outcome.tally.add(check_stopped(reader.events(), session_id))
    reader.close()
    return ((reader.done_at or now()) - began) * 1000
