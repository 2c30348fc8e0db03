"""A mesh of many, of which all but one pod and one worker do nothing but live: what do these two pay for the others?

The others are this process: real heartbeats on their subjects, each in its own moment of the interval, answers to
questions for a worker's health, and entries in the registry for sessions that their readers would have.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

from chatmesh.broker import Broker, Inbox
from chatmesh.kernel import MailboxClosed
from chatmesh.operate.bench.job import Job, Outcome
from chatmesh.operate.bench.load.inline import ask_inline
from chatmesh.operate.bench.load.reader import now, together
from chatmesh.operate.bench.load.steering import Steering
from chatmesh.operate.bench.quantiles import quantile
from chatmesh.operate.chaos.observer import observer
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.messages import HealthResponse, HeartbeatMessage
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token

INTERVAL_SECONDS = 5.0
"""Between two heartbeats of one of them: `heartbeat.interval_seconds` as it is by default."""

TURNS = 1000
"""Moments of an interval at which some of them beat: nobody's heartbeats come together."""

SESSIONS_EACH = 10
"""That a pod of them has readers of."""

ASKED = 100
LOOKUPS = 200
MOVES = 1000
MOVE_SECONDS = 0.005
"""Between two of them: each comes by itself, as from many pods."""

HEALTH_CAPACITY = 1024
PUT_SECONDS = 10.0


async def crowd(job: Job, steering: Steering) -> Outcome:
    """At each size the benchmark looks at the two while nothing is said; then people ask, one after the other."""
    outcome, people = Outcome(), count()
    async with observer([job.broker]) as broker, _living(broker) as others:
        await steering.ready()
        for size in job.load.steps:
            with steering.telling(lambda: others.size, job.load.steps[-1]):
                await others.grow_to(size)
            await asyncio.sleep(INTERVAL_SECONDS)  # each has been heard
            await steering.pause("watch", size=size, seconds=job.load.seconds)
            lookup = await others.look_up(LOOKUPS)
            await steering.pause("mark")
            asked = [await ask_inline(job, f"{job.name}-{next(people)}", 0, outcome) for _ in range(ASKED)]
            first = quantile(asked, 0.5)
            await steering.pause("counted", size=size, count=ASKED, first=first, lookup=lookup)
            outcome.figures |= {"first": first, "lookup": lookup}
        await steering.pause("mark")
        await others.move(MOVES)
        await steering.pause("moved", count=MOVES)
        steering.measured(outcome)
    return outcome


@asynccontextmanager
async def _living(broker: Broker) -> AsyncIterator[_Others]:
    others = _Others(broker)
    health = await broker.connection.subscribe(subjects.worker_health(Token("*")), capacity=HEALTH_CAPACITY)
    tasks = [asyncio.create_task(others.beat()), asyncio.create_task(others.answer(health))]
    try:
        yield others
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class _Others:
    """`size` pods and as many workers."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.size = 0

    async def grow_to(self, size: int) -> None:
        """Their sessions are in the registry then."""
        wanted = [
            partial(self._hold, number, session)
            for number in range(self.size, size)
            for session in range(SESSIONS_EACH)
        ]
        await together(wanted)
        self.size = size

    async def beat(self) -> None:
        """Each once in an interval."""
        for turn in count():
            until = now() + INTERVAL_SECONDS / TURNS
            for number in range(turn % TURNS, self.size, TURNS):
                await self._broker.heartbeats.beat(_heartbeat("pod", number))
                await self._broker.heartbeats.beat(_heartbeat("worker", number))
            await asyncio.sleep(max(0.0, until - now()))

    async def answer(self, questions: Inbox) -> None:
        """As a worker answers whoever asks whether it lives; the real one speaks for itself."""
        while True:
            try:
                messages = await questions.take()
            except MailboxClosed:
                return
            for message in messages:
                asked = message.subject.split(".")[2]
                if asked.startswith("crowd-") and message.reply:
                    answer = HealthResponse(
                        "worker", Token(asked), "healthy", 1, iso(time.time()), _boot(asked)
                    )
                    self._broker.connection.publish(message.reply, answer.encode(), headers=headers.own())

    async def move(self, times: int) -> None:
        """So many sessions get their first reader, or lose their last one, one after the other at other pods."""
        for number in range(times):
            await self._hold(number % max(1, self.size), number % SESSIONS_EACH)
            await asyncio.sleep(MOVE_SECONDS)

    async def look_up(self, times: int) -> float:
        """The median of milliseconds for the pods of a session."""
        waits = []
        for number in range(times):
            began = now()
            await self._broker.registry.holders(_session(number, 0), seconds=PUT_SECONDS)
            waits.append((now() - began) * 1000)
        return quantile(waits, 0.5)

    async def _hold(self, number: int, session: int) -> None:
        pod = _id("pod", number)
        await self._broker.registry.hold(_session(number, session), pod, _boot(pod), seconds=PUT_SECONDS)


def _heartbeat(role: str, number: int) -> HeartbeatMessage:
    id = _id(role, number)
    return HeartbeatMessage(
        role=role,
        id=id,
        timestamp=iso(time.time()),
        active_connections=SESSIONS_EACH if role == "pod" else 0,
        memory_usage_mb=80.0,
        cpu_usage_percent=3.5,
        boot=_boot(id),
        models=("count", "echo") if role == "worker" else (),
        active_generations=1 if role == "worker" else 0,
        subscriptions=12,
    )


def _id(role: str, number: int) -> Token:
    return Token(f"crowd-{role}-{number:05d}")


def _boot(id: str) -> str:
    return f"boot-{id}"


def _session(number: int, session: int) -> Token:
    return Token(f"crowd-{number:05d}-{session}")
