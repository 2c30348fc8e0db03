"""A caller of the connection that is cancelled takes nothing with it that belongs to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from chatmesh.broker import Address, Connection, Inbox
from tests.stress.support import PATIENCE_SECONDS, Monitor, turns
from tests.support.broker import Broker
from tests.support.waiting import eventually


@pytest.fixture
async def connection(broker: Broker) -> AsyncIterator[Connection]:
    connection = Connection(lambda: Address((broker.url,), "me"))
    up = asyncio.Event()
    task = asyncio.create_task(connection.run(up.set))
    await eventually(up.is_set, timeout=PATIENCE_SECONDS)
    yield connection
    connection.drain()
    await task


async def heard(connection: Connection, inbox: Inbox) -> bool:
    """Whether what is published comes back."""
    await connection.publish(inbox.subject, b"?")
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [message.data for message in await inbox.take()] == [b"?"]


async def test_flush_that_is_cancelled_does_not_cost_the_others_their_connection(
    connection: Connection,
) -> None:
    """The answer to its PING still comes, and must find somebody."""
    inbox = await connection.subscribe("s", capacity=8)
    client = connection._client
    assert client is not None
    for number in range(40):
        flush = asyncio.create_task(connection.flush())
        await turns(number % 5)
        flush.cancel()
        await asyncio.wait({flush})
        assert await heard(connection, inbox)
    await connection.flush()
    assert connection._client is client
    assert client.stats["reconnects"] == 0
    await connection.unsubscribe(inbox)


async def test_flush_of_a_silent_broker_ends_at_once_when_it_is_cancelled(
    broker: Broker, connection: Connection
) -> None:
    broker.pause()
    flush = asyncio.create_task(connection.flush())
    await turns(10)
    flush.cancel()
    await turns(5)
    assert flush.cancelled()
    broker.resume()
    inbox = await connection.subscribe("s", capacity=8)
    assert await heard(connection, inbox)
    await connection.unsubscribe(inbox)


async def test_subscription_that_is_cut_short_is_not_kept(
    connection: Connection, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    base = await monitor.counts()
    with monkeypatch.context() as patched:
        patched.setattr(connection, "_feed", hang)
        subscribing = asyncio.create_task(connection.subscribe("s", capacity=8))
        await turns(3)
        subscribing.cancel()
        await asyncio.wait({subscribing})
    assert connection._inboxes == {}
    await monitor.wait_counts(base)
