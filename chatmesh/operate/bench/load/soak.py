"""Steady use of all kinds, for as long as is asked: what grows meanwhile grows for ever."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count

from chatmesh.operate.bench.job import Job, Outcome
from chatmesh.operate.bench.load.checked import check
from chatmesh.operate.bench.load.faults import begun, stop
from chatmesh.operate.bench.load.inline import ask_inline
from chatmesh.operate.bench.load.reader import Asker, Reader, connect, now, opened
from chatmesh.operate.bench.load.steering import Steering
from chatmesh.operate.bench.load.wire import asking, reading
from chatmesh.operate.bench.quantiles import curve, quantile

REMEMBERED = 50
"""Sessions that a person goes back to; older ones are never heard of again."""

LOOKED_SECONDS = 0.3
PAUSE_SECONDS = 0.1
APART_SECONDS = 0.07
"""Between the first things of two people, who would else go on in step."""

STOPPED_TOKENS, STOPPED_RATE = 1000, 0.1
"""Of an answer that says one token and then nothing."""

LEAST_WAITS = 8
"""Fewer have no quarters that could be compared."""


async def soak(job: Job, steering: Steering) -> Outcome:
    """`sessions` people do one thing after the other until the time is over."""
    outcome, load = Outcome(), job.load
    people = [_Person(job, number, outcome) for number in range(load.sessions)]
    began = await steering.ready()
    gc.enable()  # it goes on for longer than garbage can be kept
    with steering.telling(lambda: int(now() - began), int(load.seconds)):
        async with asyncio.TaskGroup() as tasks:
            for person in people:
                tasks.create_task(person.live(began + load.seconds))
    steering.measured(outcome)
    waits = sorted(wait for person in people for wait in person.waits)
    outcome.figures["answers"] = len(waits) / outcome.wall_seconds * 60
    _tell_waits([wait for _, wait in waits], outcome)
    return outcome


def _tell_waits(waits: list[float], outcome: Outcome) -> None:
    """First tokens in ms, in the order in which they were asked for."""
    if len(waits) < LEAST_WAITS:
        return
    quarter = len(waits) // 4
    outcome.figures |= {
        "first_p50": quantile(waits, 0.5),
        "first_p99": quantile(waits, 0.99),
        "later": quantile(waits[-quarter:], 0.5) / quantile(waits[:quarter], 0.5),
    }
    outcome.curves["first"] = curve(waits)


class _Person:
    """Begins sessions, goes back to old ones, leaves in the midst and comes back, stops, looks in."""

    def __init__(self, job: Job, number: int, outcome: Outcome) -> None:
        self._job = job
        self._number = number
        self._outcome = outcome
        self._port = job.ports[number % len(job.ports)]
        self._other_port = job.ports[(number + 1) % len(job.ports)]
        self._sessions: deque[str] = deque(maxlen=REMEMBERED)
        self._begun = 0
        self._messages = 0
        self.waits: list[tuple[float, float]] = []
        """When was asked, and the milliseconds to the first token."""

    async def live(self, until: float) -> None:
        await asyncio.sleep(self._number * APART_SECONDS)
        asker = await connect(Asker(), self._port)
        habits: tuple[Callable[[Asker], Awaitable[None]], ...] = (
            self._begin,
            self._go_on,
            self._look_in,
            self._leave_and_come_back,
            self._go_on,
            self._stop,
        )
        for turn in count():
            if now() >= until:
                break
            # The first thing that anybody does is to begin a session; then each is elsewhere in the round.
            await habits[(turn + self._number) % len(habits) if turn else 0](asker)
            await asyncio.sleep(PAUSE_SECONDS)
        asker.close()

    async def _begin(self, asker: Asker) -> None:
        """A session that nobody has heard of, read on a stream of its own."""
        session_id = self._new_session()
        self._sessions.append(session_id)
        await self._read(asker, session_id, is_cut=False)

    async def _leave_and_come_back(self, asker: Asker) -> None:
        """In the midst of an answer, at another pod where there is one."""
        await self._read(asker, self._old_session(), is_cut=True)

    async def _read(self, asker: Asker, session_id: str, *, is_cut: bool) -> None:
        load, message_id = self._job.load, self._new_message()
        reader = await opened(self._port, reading(session_id))
        asked = now()
        status = await asker.ask(asking(session_id, message_id, tokens=load.tokens, rate=load.rate))
        self._outcome.tally.refused += status != 202
        readers = [reader]
        if is_cut:
            readers += await self._cut(session_id, reader)
        await self._end(session_id, readers, asked)

    async def _cut(self, session_id: str, reader: Reader) -> list[Reader]:
        """Whoever goes on where this one was cut off; nobody, where it has everything already."""
        load = self._job.load
        await begun([reader])
        await asyncio.sleep(load.tokens / load.rate / 2)
        if reader.done.done():
            return []
        reader.close()
        position = reader.events()[-1].position
        return [await opened(self._other_port, reading(session_id, position=position))]

    async def _go_on(self, _: Asker) -> None:
        """One more message in an old session; the answer comes in the response."""
        session_id, asked = self._old_session(), now()
        self._messages += 1
        wait = await ask_inline(self._job, session_id, self._messages, self._outcome)
        self.waits.append((asked, wait))

    async def _end(self, session_id: str, readers: list[Reader], asked: float) -> None:
        """What they got together is one whole answer."""
        load = self._job.load
        await asyncio.wait([readers[-1].done], timeout=load.patience_seconds)
        first = readers[0].first_token_at()
        self.waits.append((asked, ((first or now()) - asked) * 1000))
        events = [event for reader in readers for event in reader.events()]
        self._outcome.tally.add(check(events, session_id, load.tokens))
        for reader in readers:
            reader.close()

    async def _look_in(self, _: Asker) -> None:
        """Somebody who opens an old session and goes again."""
        reader = await opened(self._other_port, reading(self._old_session()))
        await asyncio.sleep(LOOKED_SECONDS)
        self._outcome.tally.refused += not reader.is_open
        reader.close()

    async def _stop(self, asker: Asker) -> None:
        load = replace(self._job.load, tokens=STOPPED_TOKENS, rate=STOPPED_RATE)
        await stop(replace(self._job, load=load), asker, self._new_session(), self._outcome)

    def _old_session(self) -> str:
        return self._sessions[self._messages % len(self._sessions)]

    def _new_session(self) -> str:
        self._begun += 1
        return f"{self._job.name}-{self._number}-{self._begun}"

    def _new_message(self) -> str:
        self._messages += 1
        return f"m{self._messages}"
