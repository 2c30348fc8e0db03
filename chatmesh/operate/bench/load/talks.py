"""People who ask and read at the same time: bursts, paced answers, and many readers of one answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from chatmesh.operate.bench.job import Job, Load, Outcome
from chatmesh.operate.bench.load.checked import check
from chatmesh.operate.bench.load.events import Told
from chatmesh.operate.bench.load.reader import Asker, Reader, connect, now, opened, together
from chatmesh.operate.bench.load.steering import Steering
from chatmesh.operate.bench.load.wire import asking, reading
from chatmesh.operate.bench.quantiles import curve, quantile

SETTLE_SECONDS = 0.5
"""Between the last stream's opening and the first message: the registry knows the pods by then."""


@dataclass(slots=True)
class Talk:
    """One session: who asks, who reads, and when it was asked."""

    session_id: str
    asker: Asker
    readers: list[Reader]
    asked_at: float = 0.0
    status: int = 0


async def talks(job: Job, steering: Steering) -> Outcome:
    """Everybody's stream is open before anybody asks."""
    load = job.load
    held = await open_talks(job)
    outcome = Outcome()
    readers = [reader for talk in held for reader in talk.readers]
    await asyncio.sleep(SETTLE_SECONDS)
    began = await steering.ready()
    with steering.telling(lambda: sum(reader.done.done() for reader in readers), len(readers)):
        await ask_all(held, load)
        await asyncio.wait([reader.done for reader in readers], timeout=load.patience_seconds)
    ended = max((reader.done_at or 0.0 for reader in readers), default=0.0) or now()
    steering.measured(outcome)
    outcome.wall_seconds = ended - began
    judge(held, load, outcome)
    return outcome


async def open_talks(job: Job) -> list[Talk]:
    """Sessions with their readers, spread over the pods."""
    load, ports = job.load, job.ports

    async def one(number: int) -> Talk:
        session_id = f"{job.name}-{number}"
        asker = await connect(Asker(), ports[number % len(ports)])
        wanted = [
            partial(opened, ports[(number + reader) % len(ports)], reading(session_id))
            for reader in range(load.readers)
        ]
        return Talk(session_id, asker, await together(wanted))

    return await together([partial(one, number) for number in range(load.sessions)])


async def ask_all(held: list[Talk], load: Load) -> None:
    """All at once, or spread evenly over `stagger_seconds`."""

    async def ask(number: int, talk: Talk) -> None:
        if load.stagger_seconds:
            await asyncio.sleep(load.stagger_seconds * number / len(held))
        request = asking(talk.session_id, "m1", tokens=load.tokens, rate=load.rate)
        talk.asked_at = now()
        talk.status = await talk.asker.ask(request)

    async with asyncio.TaskGroup() as tasks:
        for number, talk in enumerate(held):
            tasks.create_task(ask(number, talk))


def judge(held: list[Talk], load: Load, outcome: Outcome) -> None:
    """Checks every chunk, and counts what the client can count."""
    firsts: list[float] = []
    delays: list[float] = []
    held_rates: list[float] = []
    for talk in held:
        outcome.tally.refused += talk.status != 202
        for reader in talk.readers:
            events = reader.events()
            outcome.tally.add(check(events, talk.session_id, load.tokens))
            reader.close()
            chunks = [event for event in events if event.name == "message"]
            if chunks:
                firsts.append((chunks[0].at - talk.asked_at) * 1000)
            if load.rate and len(chunks) > 2:
                delays += _delays(chunks, load.rate)
                held_rates.append(_held(chunks, load.rate))
        talk.asker.close()
    outcome.figures["rate"] = outcome.tally.received / outcome.wall_seconds
    if firsts:
        outcome.figures |= {"first_p50": quantile(firsts, 0.5), "first_p99": quantile(firsts, 0.99)}
        outcome.curves["first"] = curve(firsts)
    if delays:
        outcome.figures |= {"delay_p50": quantile(delays, 0.5), "delay_p99": quantile(delays, 0.99)}
        outcome.figures["held"] = min(held_rates)
        outcome.curves["delay"] = curve(delays)


def _delays(chunks: list[Told], rate: float) -> list[float]:
    """How much later than the answer's quickest one each chunk came, in ms. The model keeps to the clock from its first
    token on, and some token waits for nothing: so no clock but the reader's own is needed. The final chunk is no token."""
    places = [chunk.at - number / rate for number, chunk in enumerate(chunks[:-1])]
    quickest = min(places)
    return [(place - quickest) * 1000 for place in places]


def _held(chunks: list[Told], rate: float) -> float:
    """How much of the asked rate a reader got, in per cent."""
    tokens = chunks[:-1]
    return (len(tokens) - 1) / (tokens[-1].at - tokens[0].at) / rate * 100
