"""A caller of the connection that is cancelled takes nothing with it that belongs to the others, and a listener that fails takes
only its own messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from chatmesh.broker import Address, Connection, Inbox, Msg, Replies
from chatmesh.broker.connection import PENDING_BYTES
from chatmesh.errors import BrokerUnreachableError
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
    connection.publish(inbox.subject, b"?")
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
        patched.setattr(connection._client, "feed", hang)
        subscribing = asyncio.create_task(connection.subscribe("s", capacity=8))
        await turns(3)
        subscribing.cancel()
        await asyncio.wait({subscribing})
    assert connection._inboxes == {}
    await monitor.wait_counts(base)


async def test_messages_of_all_subscriptions_come_in_order_while_they_come_and_go(
    connection: Connection,
) -> None:
    kept = await connection.subscribe("kept", capacity=4096)
    for number in range(1000):
        connection.publish("kept", b"%d" % number)
        if number % 50 == 0:
            other = await connection.subscribe("other", capacity=1)
            connection.publish("other", b"x" * 100_000)
            await connection.unsubscribe(other)
    await connection.flush()
    assert [message.data for message in await kept.take()] == [b"%d" % number for number in range(1000)]
    await connection.unsubscribe(kept)


async def test_much_that_is_sent_in_one_turn_of_the_loop_arrives(connection: Connection) -> None:
    """As when a thousand full batches leave at the same tick."""
    inbox = await connection.subscribe("s", capacity=2000)
    for number in range(1500):
        connection.publish("s", b"%d:" % number + bytes(30_000))
    numbers: list[int] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(numbers) < 1500:
            numbers += [int(message.data.partition(b":")[0]) for message in await inbox.take()]
    assert numbers == list(range(1500))
    await connection.unsubscribe(inbox)


async def test_a_broker_that_reads_nothing_is_sent_no_more_than_fits_and_gets_that_once_it_reads(
    broker: Broker, connection: Connection
) -> None:
    inbox = await connection.subscribe("s", capacity=2000)
    await connection.flush()
    broker.pause()
    taken = 0
    while taken < 2000:
        try:
            connection.publish("s", b"%d:" % taken + bytes(100_000))
        except BrokerUnreachableError:
            break
        taken += 1
    assert taken * 100_000 <= PENDING_BYTES + 16 * 1024 * 1024
    broker.resume()
    numbers: list[int] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(numbers) < taken:
            numbers += [int(message.data.partition(b":")[0]) for message in await inbox.take()]
    assert numbers == list(range(taken))
    connection.publish("s", b"-1:")
    assert [message.data for message in await inbox.take()] == [b"-1:"]
    await connection.unsubscribe(inbox)


async def test_what_does_not_fit_is_told_of(connection: Connection) -> None:
    inbox, told = await connection.subscribe("s", capacity=2), []
    inbox.on_loss(lambda: told.append(inbox.lost))
    for number in range(5):
        connection.publish("s", b"%d" % number)
    await connection.flush()
    assert [message.data for message in await inbox.take()] == [b"0", b"1"]
    assert told == [1, 2, 3]
    await connection.unsubscribe(inbox)


async def test_listener_that_fails_loses_its_own_message_and_nobody_elses(connection: Connection) -> None:
    def fail(_: Msg) -> None:
        raise ZeroDivisionError

    failing = await connection.subscribe("s", capacity=1, tap=fail)
    inbox = await connection.subscribe("s", capacity=8)
    assert await heard(connection, inbox)
    assert await heard(connection, inbox)
    await connection.unsubscribe(failing)
    await connection.unsubscribe(inbox)


async def test_handler_of_a_reply_that_fails_ends_the_replies_and_not_the_connection(
    connection: Connection,
) -> None:
    replies, up = Replies(connection), asyncio.Event()

    def fail(_: Msg) -> bool:
        raise ZeroDivisionError

    running = asyncio.create_task(replies.run(up.set))
    await up.wait()
    connection.publish(replies.expect(fail), b"")
    with pytest.raises(ZeroDivisionError):
        await running
    inbox = await connection.subscribe("s", capacity=8)
    assert await heard(connection, inbox)
    await connection.unsubscribe(inbox)
    # The next life answers for what the last one was asked.
    heard_of: list[bytes] = []
    reply = replies.expect(lambda message: not heard_of.append(message.data))
    up.clear()
    running = asyncio.create_task(replies.run(up.set))
    await up.wait()
    connection.publish(reply, b"late")
    await connection.flush()
    assert heard_of == [b"late"]
    replies.drain()
    await running


async def test_what_can_not_be_written_at_this_moment_goes_out_with_the_next(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = await connection.subscribe("s", capacity=8)
    await connection.flush()
    transport = connection._client and connection._client._transport
    assert transport is not None

    def refuse(_: list[bytes]) -> None:
        raise RuntimeError("the handler is closed")

    with monkeypatch.context() as patched:
        patched.setattr(transport, "writelines", refuse)
        connection.publish("s", b"late")
        await turns(3)
    connection.publish("s", b"next")
    await connection.flush()
    assert [message.data for message in await inbox.take()] == [b"late", b"next"]
    await connection.unsubscribe(inbox)
