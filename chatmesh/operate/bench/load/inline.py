"""One message whose answer comes in the same response."""

from __future__ import annotations

import asyncio

from chatmesh.operate.bench.job import Job, Outcome
from chatmesh.operate.bench.load.checked import check
from chatmesh.operate.bench.load.reader import Reader, connect, now
from chatmesh.operate.bench.load.wire import asking


async def ask_inline(job: Job, session_id: str, number: int, outcome: Outcome) -> float:
    """From the request to its first token, in ms; it is read to its end, on the connection that asked, and checked."""
    load = job.load
    reader = await connect(Reader(), job.ports[number % len(job.ports)])
    began = now()
    reader.ask(asking(session_id, f"m{number}", tokens=load.tokens, rate=load.rate, is_inline=True))
    await asyncio.wait([reader.done], timeout=load.patience_seconds)
    outcome.tally.refused += not reader.opened.done() or reader.opened.result() != 200
    outcome.tally.add(check(reader.events(), session_id, load.tokens))
    reader.close()
    return ((reader.first_token_at() or now()) - began) * 1000
