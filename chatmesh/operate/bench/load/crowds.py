"""One answer that quick and slow people read: the quick ones should not notice, the slow ones should lose nothing."""

from __future__ import annotations

import asyncio
from functools import partial

from chatmesh.operate.bench.job import Job, Outcome
from chatmesh.operate.bench.load.reader import Asker, Reader, connect, now, opened, together
from chatmesh.operate.bench.load.steering import Steering
from chatmesh.operate.bench.load.talks import SETTLE_SECONDS, Talk, ask_all, judge
from chatmesh.operate.bench.load.wire import reading

RECEIVE_BYTES = 4096
"""The kernel's buffer of a slow reader: so that the pod has to wait for it, and not the kernel alone."""


async def slow(job: Job, steering: Steering) -> Outcome:
    """Half of the readers take nothing until the others have everything."""
    load, outcome = job.load, Outcome()
    count = load.readers // 2
    asker = await connect(Asker(), job.ports[0])
    wanted = partial(opened, job.ports[-1], reading(job.name))
    quick = await together([wanted] * count)
    sluggish = await together([partial(wanted, receive_bytes=RECEIVE_BYTES)] * count)
    for reader in sluggish:
        reader.pause()
    await asyncio.sleep(SETTLE_SECONDS)
    talk = Talk(job.name, asker, quick)
    began = await steering.ready()
    await ask_all([talk], load)
    await _all_done(steering, quick, load.patience_seconds)
    ended = max((reader.done_at or 0.0 for reader in quick), default=0.0) or now()
    await steering.pause("behind", size=count)
    resumed = now()
    for reader in sluggish:
        reader.go_on()
    await _all_done(steering, sluggish, load.patience_seconds)
    caught_up = max((reader.done_at or now() for reader in sluggish), default=now()) - resumed
    steering.measured(outcome)
    behind = Outcome(wall_seconds=1.0)
    judge([Talk(job.name, asker, sluggish, talk.asked_at, talk.status)], load, behind)
    outcome.wall_seconds = max(ended - began, 0.001)
    judge([talk], load, outcome)
    outcome.tally.add(behind.tally)
    outcome.figures["caught_up"] = caught_up
    return outcome


async def _all_done(steering: Steering, readers: list[Reader], seconds: float) -> None:
    with steering.telling(lambda: sum(reader.done.done() for reader in readers), len(readers)):
        await asyncio.wait([reader.done for reader in readers], timeout=seconds)
