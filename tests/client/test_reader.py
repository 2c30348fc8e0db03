"""A reader sees each event once, whatever becomes of its connections."""

from __future__ import annotations

import asyncio

import pytest

from chatmesh.client import Client, Event
from chatmesh.errors import RefusedError
from tests.client.scripted import answer, event, pods, stream, torn
from tests.support.waiting import eventually

SOON = "retry: 1\n\n"
PATIENCE_SECONDS = 20.0


def numbers(events: list[Event]) -> list[str]:
    return [each.id for each in events]


async def read(client: Client, count: int, **named: str) -> list[Event]:
    """The next `count` events of a session, over all connections that it takes."""
    found: list[Event] = []
    async with asyncio.timeout(PATIENCE_SECONDS), client.read("s", **named) as reader:  # type: ignore[arg-type]
        async for each in reader:
            found.append(each)
            if len(found) == count:
                break
    return found


async def test_reader_goes_on_at_its_position_on_another_pod_when_its_connection_is_cut() -> None:
    begun = torn(SOON, event(0), event(1), event(2)[:20])
    rest = stream(event(2), event(3), hold=True)
    shared = [begun, rest]  # whichever pod is first: it tears, and the other one has the rest
    async with pods(shared, shared) as both, Client([pod.url for pod in both]) as client:
        assert numbers(await read(client, 4)) == ["p0", "p1", "p2", "p3"]
    positions = [each.headers.get("last-event-id", "") for pod in both for each in pod.asked]
    assert sorted(positions) == ["", "p1"]
    assert all(pod.asked for pod in both)


async def test_position_of_an_opening_block_is_gone_on_from() -> None:
    opening = stream("retry: 1\nid: here\n\n")
    async with pods([opening, stream(event(0), hold=True)]) as (pod,), Client([pod.url]) as client:
        await read(client, 1)
    assert pod.asked[1].headers["last-event-id"] == "here"


async def test_reader_waits_as_long_as_it_was_told_before_it_comes_back() -> None:
    async with (
        pods([stream("retry: 300\n\n"), stream(event(0), hold=True)]) as (pod,),
        Client([pod.url]) as client,
    ):
        began = asyncio.get_running_loop().time()
        await read(client, 1)
        assert asyncio.get_running_loop().time() - began >= 0.3


async def test_drain_is_no_event_and_the_reader_goes_on_at_another_pod() -> None:
    leaving = stream(event(0), "event: drain\nretry: 1\ndata: {}\n\n")
    other = stream(event(1), hold=True)
    shared = [leaving, other]
    async with pods(shared, shared) as both, Client([pod.url for pod in both]) as client:
        found = await read(client, 2)
    assert [each.name for each in found] == ["message", "message"]
    assert all(pod.asked for pod in both)


async def test_reset_is_an_event_for_the_one_who_reads() -> None:
    reset = 'event: reset\ndata: {"reason": "gap"}\n\n'
    async with pods([stream(event(0), reset, hold=True)]) as (pod,), Client([pod.url]) as client:
        assert [each.name for each in await read(client, 2)] == ["message", "reset"]


async def test_one_message_ends_with_its_final_chunk() -> None:
    async with (
        pods([stream(event(0), event(1, is_final=True), hold=True)]) as (pod,),
        Client([pod.url]) as client,
    ):
        assert numbers(await read(client, 99, message_id="m")) == ["p0", "p1"]
    assert "message_id=m" in pod.asked[0].path


async def test_204_is_the_end_for_one_who_has_everything() -> None:
    async with (
        pods([torn(SOON, event(0)), b"HTTP/1.1 204 No Content\r\n\r\n"]) as (pod,),
        Client([pod.url]) as client,
    ):
        assert numbers(await read(client, 99, message_id="m")) == ["p0"]


async def test_pod_that_can_not_serve_now_is_asked_again() -> None:
    script = [stream(SOON), answer(503), answer(429), b"garbage\r\n\r\n", stream(event(0), hold=True)]
    async with pods(script) as (pod,), Client([pod.url]) as client:
        assert numbers(await read(client, 1, position="before")) == ["p0"]
    assert [each.headers["last-event-id"] for each in pod.asked] == ["before"] * 5


async def test_pod_that_says_no_for_good_ends_it_with_its_reason() -> None:
    async with (
        pods([answer(404, {"detail": "Not yours.", "code": "unknown_session"})]) as (pod,),
        Client([pod.url]) as client,
    ):
        with pytest.raises(RefusedError, match="Not yours") as refusal:
            await read(client, 1)
        assert refusal.value.status == 404


async def test_silent_connection_is_left() -> None:
    script = [stream(SOON, event(0), hold=True), stream(event(1), hold=True)]
    async with pods(script) as (pod,), Client([pod.url], silence_seconds=1) as client:
        assert numbers(await read(client, 2)) == ["p0", "p1"]


async def test_reader_says_when_a_pod_serves_it_and_when_none_does() -> None:
    unable = stream("retry: 1\n\n")  # of a pod that has no broker: no position
    script = [answer(503), unable, torn(SOON, event(0)), stream(event(1, is_final=True))]
    told: list[bool] = []
    async with (
        pods(script) as (pod,),
        Client([pod.url]) as client,
        client.read("s", message_id="m", on_link=told.append) as reader,
    ):
        assert numbers([each async for each in reader]) == ["p0", "p1"]
    changes = [each for number, each in enumerate(told) if number == 0 or each is not told[number - 1]]
    assert changes == [False, True, False, True]


async def test_reader_that_is_cut_while_it_waits_and_while_it_does_not_comes_back() -> None:
    script = [stream(SOON, event(0), hold=True), stream(event(1), hold=True), stream(event(2), hold=True)]
    async with pods(script) as (pod,), Client([pod.url]) as client, client.read("s") as reader:
        assert (await anext(reader)).id == "p0"
        reader.cut()
        assert (await anext(reader)).id == "p1"
        waiting = asyncio.create_task(anext(reader))
        await eventually(lambda: len(pod.asked) == 2 and reader._pieces is not None)
        reader.cut()
        assert (await waiting).id == "p2"
    assert [each.headers.get("last-event-id") for each in pod.asked] == [None, "p0", "p1"]
