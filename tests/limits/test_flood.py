"""More messages at one moment than a pod stores at a time: they wait in their order, and who waits too long is told the truth."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.client import Client
from prometheus_client import REGISTRY

from chatmesh.ingress.gate import AT_ONCE, Gate
from chatmesh.web import Problem
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client
from tests.support.reading import post
from tests.support.waiting import eventually

MORE = 44


def waiting() -> float:
    return REGISTRY.get_sample_value("chatmesh_requests_waiting") or 0.0


async def has_room(gate: Gate) -> bool:
    """Whether one gets in at once: with a place taken along, it would wait, and for ever."""
    async with asyncio.timeout(5), gate:
        return waiting() == 0


@pytest.mark.slow
async def test_more_than_a_pod_stores_at_a_time_wait_and_are_accepted(
    broker: Broker, nats_client: Client
) -> None:
    async def say(number: int) -> int:
        # On a busy machine one may hear that the outcome is unknown, or wait too long: it is repeated, as clients do, until
        # the deadline below.
        while (answer := await post(client, f"s{number}", message_id="m")).status_code in (503, 504):
            continue
        return answer.status_code

    async with pod_and_client(broker.url, "x") as (_, client):
        broker.pause()
        posts = [asyncio.create_task(say(number)) for number in range(AT_ONCE + MORE)]
        await eventually(lambda: waiting() == MORE, timeout=30)
        broker.resume()
        async with asyncio.timeout(60):
            statuses = await asyncio.gather(*posts)
    assert set(statuses) == {202}
    assert waiting() == 0
    queued = await stored.stored(nats_client, "WORKFLOW_REQUESTS", "chat.workflow.execute.*")
    assert len(queued) == AT_ONCE + MORE


async def test_gate_lets_in_by_order_of_arrival() -> None:
    gate, order = Gate(at_once=1), []

    async def go_in(number: int) -> None:
        async with gate:
            order.append(number)

    async with asyncio.TaskGroup() as group, gate:
        for number in range(5):
            group.create_task(go_in(number))
        await eventually(lambda: waiting() == 5)
        assert order == []
    assert order == [0, 1, 2, 3, 4]


async def test_who_waits_too_long_is_told_that_nothing_was_accepted() -> None:
    gate = Gate(at_once=1, wait_seconds=0.01)
    async with gate:
        with pytest.raises(Problem) as refused:
            await gate.__aenter__()
    assert (refused.value.status, refused.value.code) == (503, "overloaded")
    assert waiting() == 0
    assert await has_room(gate)


async def test_no_more_than_so_many_wait() -> None:
    gate = Gate(at_once=1, max_waiting=1)
    async with gate:
        waits = asyncio.create_task(gate.__aenter__())
        await eventually(lambda: waiting() == 1)
        with pytest.raises(Problem) as refused:
            await gate.__aenter__()
    assert refused.value.code == "overloaded"
    await waits
    await gate.__aexit__(None, None, None)


async def test_who_leaves_while_waiting_or_fails_inside_takes_no_place_along() -> None:
    gate = Gate(at_once=1)
    async with gate:
        waits = asyncio.create_task(gate.__aenter__())
        await eventually(lambda: waiting() == 1)
        waits.cancel()
        await asyncio.wait({waits})
    assert waits.cancelled()
    assert waiting() == 0
    with pytest.raises(ZeroDivisionError):
        async with gate:
            raise ZeroDivisionError
    assert await has_room(gate)
