"""Batches that are due at the same tick share a timer; each is called once, at its own tick."""

from __future__ import annotations

import asyncio

from chatmesh.relay.ticks import Ticks
from tests.units.virtual import pass_time, timeless

FLUSH = 0.05
TICK = 0.005


@timeless
async def test_all_that_begin_within_a_tick_are_called_at_the_same_one() -> None:
    loop, ticks, called = asyncio.get_running_loop(), Ticks(FLUSH), []
    await pass_time(TICK / 10)
    told = [ticks.expect(lambda at: called.append((at, loop.time()))) for _ in range(3)]
    assert len(ticks) == 1
    await pass_time(TICK)
    later = ticks.expect(lambda at: called.append((at, loop.time())))
    assert len(ticks) == 2
    await pass_time(FLUSH)
    assert [at for at, _ in called] == [*told, later]
    assert len(set(told)) == 1
    assert later > told[0]
    assert all(at <= when for at, when in called)
    assert not ticks


@timeless
async def test_one_that_begins_anew_within_a_call_is_called_again() -> None:
    ticks, called = Ticks(FLUSH), []

    def again(at: float) -> None:
        called.append(at)
        if len(called) < 3:
            ticks.expect(again)

    ticks.expect(again)
    await pass_time(4 * FLUSH)
    assert len(called) == 3
    assert called == sorted(set(called))
    assert not ticks
