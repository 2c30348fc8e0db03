"""People who come back, at a pod that has never heard of them: one by one, and all at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

from chatmesh.operate.bench.job import Job, Outcome
from chatmesh.operate.bench.load.checked import check
from chatmesh.operate.bench.load.reader import Reader, connect, now, together
from chatmesh.operate.bench.load.steering import Steering
from chatmesh.operate.bench.load.talks import ask_all, judge, open_talks
from chatmesh.operate.bench.load.wire import reading
from chatmesh.operate.bench.quantiles import curve, quantile

Place = tuple[str, str]
"""A session, and the position of its first chunk."""


async def resumes(job: Job, steering: Steering) -> Outcome:
    """Answers are given and read at the first pod. Then each is asked for once more at the last one, from behind its
    first chunk, by one after the other; then by `readers` for each at once."""
    outcome = Outcome()
    places = await _answers(job, outcome)
    await steering.ready()
    waits: list[float] = []
    with steering.telling(lambda: len(waits), len(places)):
        for place in places:
            reader, wait = await _resume(job, place)
            waits.append(wait)
            _judge(job, place, reader, outcome)
    crowd = [place for place in places for _ in range(job.load.readers)]
    began = now()
    back = await together([partial(_resume, job, place) for place in crowd], at_once=len(crowd))
    storm_seconds = now() - began
    steering.measured(outcome)
    for place, (reader, _) in zip(crowd, back, strict=True):
        _judge(job, place, reader, outcome)
    outcome.figures = {
        "resume_p50": quantile(waits, 0.5),
        "resume_p99": quantile(waits, 0.99),
        "storm_p99": quantile([wait for _, wait in back], 0.99),
        "storm_rate": len(crowd) / storm_seconds,
    }
    outcome.curves = {"resume": curve(waits), "storm": curve(wait for _, wait in back)}
    return outcome


async def _answers(job: Job, outcome: Outcome) -> list[Place]:
    """At the first pod; its tally counts too."""
    load = replace(job.load, readers=1)
    held = await open_talks(replace(job, load=load, ports=job.ports[:1]))
    await ask_all(held, load)
    await asyncio.wait([talk.readers[0].done for talk in held], timeout=load.patience_seconds)
    places = [(talk.session_id, talk.readers[0].events()[0].position) for talk in held]
    prepared = Outcome(wall_seconds=1.0)
    judge(held, load, prepared)
    outcome.tally.add(prepared.tally)
    return places


async def _resume(job: Job, place: Place) -> tuple[Reader, float]:
    """From the beginning of the connection to the final chunk, in ms."""
    session_id, position = place
    began = now()
    reader = await connect(Reader(), job.ports[-1])
    reader.ask(reading(session_id, position=position))
    await asyncio.wait([reader.done], timeout=job.load.patience_seconds)
    reader.close()
    return reader, ((reader.done_at or now()) - began) * 1000


def _judge(job: Job, place: Place, reader: Reader, outcome: Outcome) -> None:
    outcome.tally.add(check(reader.events(), place[0], job.load.tokens, first=1))
