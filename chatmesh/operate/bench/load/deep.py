"""The same requests beside ever more that others have said: what is stored should cost nobody who asks."""

from __future__ import annotations

import asyncio
from itertools import count

import orjson

from chatmesh.operate.bench.job import Job, Outcome
from chatmesh.operate.bench.load.filler import Filler, filler
from chatmesh.operate.bench.load.filling import ANSWER, QUESTION, TURNS, message_id
from chatmesh.operate.bench.load.inline import ask_inline
from chatmesh.operate.bench.load.reader import now, opened
from chatmesh.operate.bench.load.steering import Steering
from chatmesh.operate.bench.load.wire import listing, reading, status
from chatmesh.operate.bench.quantiles import quantile
from chatmesh.operate.chaos.observer import observer

WARM_UP = 100
"""Asked before at each size, and not counted: what is imported, connected or compiled at first use."""

ASKED = 200
OPENED = 100
READ = 50
"""Sessions of others whose history is read at each size."""

RETURNED = 50
"""Others of these sessions, in which one message more is said."""

MIB = 1 << 20


async def deep(job: Job, steering: Steering) -> Outcome:
    """At each size, once all is at rest: what the servers pay while nothing is said, `ASKED` messages in as many new sessions,
    `OPENED` new streams, `READ` histories of what is stored, and `RETURNED` messages more in it."""
    outcome, people = Outcome(), count()
    async with observer([job.broker]) as broker, filler(broker, job.broker, f"{job.name}-past") as others:
        await steering.ready()
        for size in job.load.steps:
            await _fill(others, size, job.load.steps[-1], steering)
            for _ in range(WARM_UP):
                await ask_inline(job, f"{job.name}-{next(people)}", 0, outcome)
            stand = await others.stand()
            await steering.pause("watch", size=size, seconds=job.load.seconds)
            await steering.pause("mark")
            firsts = [await ask_inline(job, f"{job.name}-{next(people)}", 0, outcome) for _ in range(ASKED)]
            found = {"first": quantile(firsts, 0.5), "first_p99": quantile(firsts, 0.99)}
            await steering.pause("counted", size=size, count=ASKED, **found)
            opens = [await _open(job, f"{job.name}-{next(people)}") for _ in range(OPENED)]
            seen = {"open": quantile(opens, 0.5), "open_p99": quantile(opens, 0.99)}
            seen |= await _histories(job, others, outcome)
            stored = {"stored_mib": stand.stored_bytes / MIB, "subjects": stand.subjects}
            await steering.pause("noted", messages=stand.messages, **stored, **seen)
            outcome.figures |= found | seen
            await _return(job, others, size, steering, outcome)
    steering.measured(outcome)
    return outcome


async def _fill(others: Filler, size: int, most: int, steering: Steering) -> None:
    """While there is neither pod nor worker: each pod reads all new claims now and then, and these would be its only ones."""
    async with steering.apart():
        with steering.telling(lambda: others.filled, most, phase="filling the transcript"):
            await others.fill_to(size)


async def _open(job: Job, session_id: str) -> float:
    """A stream of a session that nobody knows, to its opening block, in ms."""
    began = now()
    reader = await opened(job.ports[0], reading(session_id))
    wait = (now() - began) * 1000
    reader.close()
    return wait


async def _return(job: Job, others: Filler, size: int, steering: Steering, outcome: Outcome) -> None:
    """Somebody says something more in sessions that are stored, of which none is read by `_histories`."""
    if not others.begun:
        return
    await steering.pause("mark")
    firsts = []
    for number in range(RETURNED):
        session_id = others.sessions.id(number * others.begun // RETURNED + 1)
        firsts.append(await ask_inline(job, session_id, size + number, outcome))
    await steering.pause("beside", count=RETURNED, first=quantile(firsts, 0.5))
    outcome.figures["returned"] = quantile(firsts, 0.5)


async def _histories(job: Job, others: Filler, outcome: Outcome) -> dict[str, float]:
    """Of sessions spread over all that are stored; nothing where there are none. Each has to be as it was written."""
    if not others.begun:
        return {}
    waits = []
    for number in range(READ):
        session_id = others.sessions.id(number * others.begun // READ)
        began = now()
        code, body = await _get(job.ports[0], listing(session_id))
        waits.append((now() - began) * 1000)
        outcome.tally.refused += code != 200
        outcome.tally.wrong += code == 200 and not is_past(body)
    return {"history": quantile(waits, 0.5), "history_p99": quantile(waits, 0.99)}


async def _get(port: int, request: bytes) -> tuple[int, bytes]:
    """Status and body of an answer behind which the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    finally:
        writer.close()
    return status(head), body


def is_past(body: bytes) -> bool:
    """Whether a history is that of a session of others: every question, and its whole answer."""
    rows = [
        (row["message_id"], row["role"], row["content"], row["status"])
        for row in orjson.loads(body)["messages"]
    ]
    said = (("user", QUESTION), ("assistant", ANSWER))
    return rows == [(message_id(turn), role, text, "done") for turn in range(TURNS) for role, text in said]
