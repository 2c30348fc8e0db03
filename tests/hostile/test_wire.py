"""Below the messages: subjects, reply subjects and header blocks that a raw socket may send and no client would."""

from __future__ import annotations

import httpx
import pytest
from nats.aio.client import Client

from tests.hostile.support import (
    dead_letters,
    encode,
    good_message,
    hpub,
    is_queue_empty,
    metric,
    pub,
    raw,
    request,
)
from tests.support.broker import Broker
from tests.support.reading import events, post
from tests.support.waiting import eventually

NAMES = {
    "no UTF-8": b"a\xffb",
    "half a character": b"a\xc3",
    "vertical tab": b"a\x0bb",
    "form feed": b"a\x0cb",
    "nul": b"a\x00b",
    "control": b"\x01\x02\x1b",
}

HEADERS = {
    "one byte": b"N",
    "no line end": b"NATS/1.0",
    "no headers": b"NATS/1.0\r\n\r\n",
    "no end": b"NATS/1.0\r\n",
    "junk": b"garbage garbage garbage",
    "no colon": b"NATS/1.0\r\nnocolon\r\n\r\n",
    "no UTF-8": b"NATS/1.0\r\n\xff: \xfe\r\nA: \xff\r\n\r\n",
    "nul": b"NATS/1.0\r\nA: \x00\r\n\r\n",
    "a status of no UTF-8": b"NATS/1.0 \xff\xff\xff\r\n\r\n",
    "a status and a text of no UTF-8": b"NATS/1.0 503 \xff\xff\xff\r\n\r\n",
    "a status": b"NATS/1.0 503 No Responders\r\n\r\n",
    "no status": b"NATS/1.0 \r\n\r\n",
    "an idle heartbeat": b"NATS/1.0 100 Idle Heartbeat\r\nNats-Consumer-Stalled: chat.workflow.execute.s\r\n\r\n",
    "thousands": b"NATS/1.0\r\n" + b"".join(b"h%d: x\r\n" % number for number in range(3000)) + b"\r\n",
}


@pytest.fixture
def disconnects() -> float:
    return metric("chatmesh_broker_disconnects_total")


async def test_subjects_that_are_no_text_cost_neither_connection_nor_reader(
    broker: Broker, http: httpx.AsyncClient, disconnects: float
) -> None:
    async with events(http, "s") as stream:
        await post(http, "s", model="count", max_tokens=100, tokens_per_second=200)
        await stream.read(3)
        for name in NAMES.values():
            for pattern in (
                b"chat.session.%b.broadcast",
                b"chat.pod.%b.heartbeat",
                b"chat.worker.%b.heartbeat",
                b"chat.session.s.stop.%b",
                b"chat.registry.s.%b",
            ):
                await raw(broker.port, pub(pattern % name, b'{"boot":"x"}'))
            await raw(broker.port, pub(b"chat.session.s.broadcast", b"{}", reply=b"r" + name))
            await raw(broker.port, pub(b"chat.pod.p.health", b"{}", reply=b"r" + name))
        reading = await stream.read_finals()
    assert reading.ids == list(range(101))
    assert metric("chatmesh_broker_disconnects_total") == disconnects


async def test_requests_on_subjects_that_are_no_text_are_buried(
    broker: Broker, http: httpx.AsyncClient, nats_client: Client, disconnects: float
) -> None:
    body = encode(request("s"))
    for name in NAMES.values():
        await raw(broker.port, pub(b"chat.workflow.execute.%b" % name, body))
    await good_message(http)
    await eventually(lambda: is_queue_empty(nats_client))
    assert [letter.data for letter in await dead_letters(nats_client)] == [body] * len(NAMES)
    assert metric("chatmesh_broker_disconnects_total") == disconnects


async def test_broken_header_blocks_cost_neither_connection_nor_reader(
    broker: Broker, http: httpx.AsyncClient, disconnects: float
) -> None:
    subjects = (
        b"chat.pod.p.response",
        b"chat.session.s.broadcast",
        b"chat.pod.p.health",
        b"chat.worker.p.health",
        b"chat.pod.q.heartbeat",
        b"chat.worker.q.heartbeat",
        b"chat.registry.s.q",
        b"chat.session.s.stop.q",
    )
    async with events(http, "s") as stream:
        await post(http, "s", model="count", max_tokens=100, tokens_per_second=200)
        await stream.read(3)
        for block in HEADERS.values():
            for subject in subjects:
                await raw(broker.port, hpub(subject, block, b"{}"), hpub(subject, block, b""))
        reading = await stream.read_finals()
    assert reading.ids == list(range(101))
    assert metric("chatmesh_broker_disconnects_total") == disconnects
    await good_message(http)


async def test_requests_with_broken_header_blocks_are_answered_like_any_other(
    broker: Broker, http: httpx.AsyncClient, nats_client: Client, disconnects: float
) -> None:
    for number, block in enumerate(HEADERS.values()):
        session_id = f"s{number}"
        subject = f"chat.workflow.execute.{session_id}".encode()
        async with events(http, session_id, message_id="m") as stream:
            await raw(broker.port, hpub(subject, block, encode(request(session_id))))
            reading = await stream.read_finals()
        assert reading.ids == [0, 1, 2, 3]
    await eventually(lambda: is_queue_empty(nats_client))
    assert metric("chatmesh_broker_disconnects_total") == disconnects
