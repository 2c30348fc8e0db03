"""The clocks keep the contract that the tree relies on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from chatmesh.kernel import Clock, ManualClock, SystemClock
from tests.kernel.world import turns


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()])
async def test_clock_is_aware_does_not_go_back_and_gives_way(clock: Clock) -> None:
    ran: list[int] = []
    asyncio.get_running_loop().call_soon(ran.append, 1)
    before = clock.monotonic()
    await clock.sleep(0)
    assert ran == [1]
    assert clock.monotonic() >= before
    assert clock.now().utcoffset() == timedelta(0)


async def test_manual_clock_wakes_sleepers_in_the_order_of_their_deadlines() -> None:
    clock, woken = ManualClock(), []

    async def sleeper(seconds: float, name: str) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    async with asyncio.TaskGroup() as group:
        for seconds, name in [(3, "late"), (1, "early"), (3, "late too"), (9, "latest")]:
            group.create_task(sleeper(seconds, name))
        await turns(1)
        clock.advance(2.5)
        await turns(1)
        assert (woken, clock.sleepers) == (["early"], 3)
        clock.advance(0.5)
        await turns(1)
        assert woken == ["early", "late", "late too"]
        clock.advance(100)
    assert woken[-1] == "latest"


async def test_manual_clock_forgets_a_sleeper_that_was_cancelled() -> None:
    clock = ManualClock()
    sleeper = asyncio.create_task(clock.sleep(1))
    await turns(1)
    sleeper.cancel()
    await turns(1)
    assert clock.sleepers == 0
    clock.advance(1)


def test_manual_clock_tells_the_time_it_was_given() -> None:
    clock = ManualClock(datetime(2030, 5, 6, tzinfo=UTC))
    clock.advance(90)
    assert (clock.now(), clock.monotonic()) == (datetime(2030, 5, 6, 0, 1, 30, tzinfo=UTC), 90)
    with pytest.raises(ValueError, match="can't go back"):
        clock.advance(-1)
