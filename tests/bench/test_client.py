"""The benchmark's client and its floor, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from chatmesh.errors import BrokerUnreachableError, ChatmeshError
from chatmesh.operate.bench.job import Job, Load, Outcome
from chatmesh.operate.bench.load.checked import Tally, check
from chatmesh.operate.bench.load.reader import Asker, Reader, connect, opened, together
from chatmesh.operate.bench.load.wire import asking, reading
from chatmesh.operate.processes import distinct_ports
from chatmesh.web.floor import Floor
from tests.support.ports import free_port
from tests.support.waiting import eventually

PATIENCE_SECONDS = 20.0


@pytest.fixture
async def floor() -> AsyncIterator[int]:
    """The port of a floor in this process."""
    runner = web.AppRunner(Floor().application(), shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield port
    await runner.cleanup()


async def done(reader: Reader) -> bool:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await reader.done


@pytest.mark.parametrize("rate", [0, 500])
async def test_the_floor_answers_as_count_does(floor: int, rate: float) -> None:
    readers = await together([lambda: opened(floor, reading("s"))] * 3)
    asker = await connect(Asker(), floor)
    assert await asker.ask(asking("s", "m1", tokens=20, rate=rate)) == 202
    for reader in readers:
        assert await done(reader)
        assert check(reader.events(), "s", 20).faults == {}
        first = reader.first_token_at()
        assert first is not None
        assert reader.done_at is not None
        assert first <= reader.done_at
        reader.close()
    asker.close()


async def test_an_asker_keeps_its_connection(floor: int) -> None:
    asker = await connect(Asker(), floor)
    for number in range(3):
        assert await asker.ask(asking(f"s{number}", "m1", tokens=2, rate=0)) == 202
    assert await asker.ask(reading("s").replace(b"/events", b"/nothing")) == 404
    asker.close()


async def test_who_keeps_nothing_counts_bytes(floor: int) -> None:
    reader = await opened(floor, reading("s"), keeps=False)
    asker = await connect(Asker(), floor)
    await asker.ask(asking("s", "m1", tokens=2, rate=0))
    await eventually(lambda: reader.size >= 300, timeout=PATIENCE_SECONDS)
    assert reader.pieces == []
    assert reader.is_open
    reader.close()
    asker.close()


async def test_a_refused_stream_and_a_closed_port_are_said(floor: int) -> None:
    with pytest.raises(ChatmeshError, match="refused with 404"):
        await opened(floor, reading("s").replace(b"/events", b"/nothing"))
    with pytest.raises(BrokerUnreachableError, match="nobody listens"):
        await connect(Reader(), distinct_ports(1)[0])


def fed(parts: list[bytes]) -> Reader:
    reader = Reader()
    for part in parts:
        reader.data_received(part)
    return reader


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
FINAL = b'id: 1\ndata: {"chunk_id":0,"is_final":true}\n\n'


async def test_the_end_is_seen_wherever_it_is_cut() -> None:
    whole = HEAD + FINAL
    for at in range(len(whole) + 1):
        reader = fed([whole[:at], whole[at:]])
        assert reader.opened.result() == 200
        assert reader.done.done(), at
        assert [event.body["chunk_id"] for event in reader.events()] == [0]


async def test_the_end_is_seen_byte_by_byte_and_not_before() -> None:
    whole = HEAD + FINAL
    reader = fed([whole[at : at + 1] for at in range(len(whole))])
    assert reader.done.result() is True
    assert not fed([HEAD, FINAL.replace(b"true", b"false")]).done.done()


def test_a_job_and_an_outcome_survive_the_way_between_two_processes() -> None:
    job = Job(Load("idle", steps=(1, 2)), (8080,), "b")
    assert Job.parse(job.wire()) == job
    outcome = Outcome(Tally(5, 4, missing=1), {"rate": 1.0}, {"first": [1.0]}, 0.5, 1.0)
    assert Outcome.parse(outcome.wire()) == outcome
