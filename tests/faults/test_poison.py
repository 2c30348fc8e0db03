"""Requests that can't be answered: they end, with a reason, and nobody else notices."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.broker import CONSUMER, REQUESTS
from chatmesh.broker.streams import DEAD_LETTERS
from tests.faults.support import (
    ACK_WAIT,
    PATIENCE_SECONDS,
    assert_exact,
    claims,
    count_text,
    dead_letters,
    read_on,
    records,
    wait_queue_empty,
)
from tests.support.broker import Broker
from tests.support.mesh import running
from tests.support.models import HELD_TOKENS, gate, models
from tests.support.reading import Reading, events, post
from tests.support.stored import queued
from tests.support.waiting import eventually

COUNT: dict[str, Any] = {"model": "count", "max_tokens": 5}
SLOW: dict[str, Any] = {"model": "count", "max_tokens": 40, "tokens_per_second": 50}


def request(**fields: Any) -> dict[str, Any]:
    """The seed's WorkflowRequest."""
    return {
        "message_id": "m",
        "session_id": "s",
        "user_id": "",
        "message": "go",
        "context": {"model": "count", "max_tokens": 5},
        "timestamp": "2026-01-01T00:00:00Z",
        "correlation_id": "c",
    } | fields


def deep(levels: int) -> bytes:
    return b'{"message_id":"m","session_id":"s","message":"x","context":%b}' % (
        b'{"a":' * levels + b"1" + b"}" * levels
    )


GARBAGE = {
    "nothing": b"",
    "no JSON": b"\x00\xff garbage",
    "no object": b"[]",
    "no fields": b"{}",
    "no UTF-8": b'{"message_id":"m","session_id":"s","message":"\xff"}',
    "deep": deep(200),
    "very deep": deep(100_000),
    "another session": json.dumps(request(session_id="other")).encode(),
    "an id that is none": json.dumps(request(message_id="a.b")).encode(),
    "a message that is no text": json.dumps(request(message=17)).encode(),
    "a context that is no object": json.dumps(request(context=[1])).encode(),
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE.keys())
async def test_undecodable_request_becomes_a_dead_letter_and_does_not_block_its_session(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client, body: bytes
) -> None:
    ack = await nats_client.jetstream().publish("chat.workflow.execute.s", body)
    assert (await post(http, "s", **COUNT)).status_code == 202
    assert_exact(await read_on(http, "s", Reading(), **{"from": "start"}), 5)
    await wait_queue_empty(nats_client)
    (letter,) = await dead_letters(nats_client)
    assert letter.data == body
    assert letter.headers is not None
    assert letter.headers["Chatmesh-Reason"]
    assert letter.headers["Nats-Msg-Id"] == f"{REQUESTS}:{ack.seq}"


@pytest.mark.parametrize(
    "session_id", ["a!b", *(pytest.param(id, marks=pytest.mark.chaos) for id in ("ünï", "x" * 200, "$x"))]
)
async def test_request_on_a_subject_that_is_no_session_becomes_a_dead_letter_and_stops_nothing(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client, session_id: str
) -> None:
    body = json.dumps(request(session_id=session_id)).encode()
    async with events(http, "s") as stream:
        message_id = (await post(http, "s", **SLOW)).json()["message_id"]
        await stream.read(5)
        await nats_client.jetstream().publish(f"chat.workflow.execute.{session_id}", body)
        await wait_queue_empty(nats_client)
        assert_exact(await stream.read_finals(), 40)
    (letter,) = await dead_letters(nats_client)
    assert letter.data == body
    assert len(await claims(nats_client, "s", message_id)) == 1


async def test_undecodable_request_stays_in_the_queue_until_the_dead_letters_take_it(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    """Full dead letters: nothing vanishes unseen, and other sessions don't wait."""
    js = nats_client.jetstream(timeout=5)
    config = (await js.stream_info(DEAD_LETTERS)).config
    room = config.max_bytes
    await js.update_stream(config.evolve(max_bytes=1))
    await js.publish("chat.workflow.execute.s", b"garbage")
    async with events(http, "other") as stream:
        assert (await post(http, "other", **COUNT)).status_code == 202
        assert_exact(await stream.read_finals(), 5)
    await eventually(lambda: _is_answered(nats_client, "other"))
    assert (await js.stream_info(REQUESTS)).state.messages == 1
    await js.update_stream(config.evolve(max_bytes=room))
    await wait_queue_empty(nats_client)
    assert [letter.data for letter in await dead_letters(nats_client)] == [b"garbage"]


async def _is_answered(client: Client, session_id: str) -> bool:
    """For good: its request has left the queue, a moment behind the answer's end."""
    return not await queued(client, session_id)


async def test_poisoned_session_does_not_hold_up_others(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    js = nats_client.jetstream(timeout=5)
    for number in range(200):
        await js.publish(f"chat.workflow.execute.p{number % 20}", b"garbage %d" % number)
    async with events(http, "s") as stream:
        assert (await post(http, "s", **COUNT)).status_code == 202
        assert_exact(await stream.read_finals(), 5)
    await wait_queue_empty(nats_client)
    assert len(await dead_letters(nats_client)) == 200


async def test_answer_whose_worker_died_between_final_and_ack_is_only_acknowledged(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    """Another worker's claim and records, written by hand up to the final; the request is still in the queue."""
    js = nats_client.jetstream(timeout=5)
    claim = {
        "session_id": "s",
        "message_id": "m",
        "worker_id": "dead",
        "boot": "0",
        "nonce": "0",
        "attempt": 1,
        "base": 0,
        "first": 0,
        "offset": 0,
        "timestamp": "2026-01-01T00:00:00Z",
    }
    fence = (await js.publish("chat.session.s.claim", json.dumps(claim).encode())).seq
    chunk = {
        "session_id": "s",
        "message_id": "m",
        "chunk_id": 0,
        "chunk": "by hand",
        "chunk_type": "content",
        "is_final": True,
        "metadata": {"finish_reason": "stop"},
        "timestamp": "2026-01-01T00:00:00Z",
        "correlation_id": "c",
    }
    record = {"session_id": "s", "message_id": "m", "offset": 1, "attempt": 1, "token": fence}
    # Compact as our workers write it: what is looked for in a record's body is `"is_final":true`.
    body = json.dumps(record | {"chunks": [chunk]}, separators=(",", ":")).encode()
    await js.publish("chat.session.s.transcript.m", body)
    await js.publish("chat.workflow.execute.s", json.dumps(request()).encode())
    await wait_queue_empty(nats_client)
    assert len(await claims(nats_client, "s", "m")) == 1
    assert len(await records(nats_client, "s")) == 1
    reading = await read_on(http, "s", Reading(), **{"from": "start"})
    assert (reading.text, len(reading.finals)) == ("by hand", 1)
    assert (await post(http, "s", **COUNT)).status_code == 202
    reading = await read_on(http, "s", reading, finals=2)
    assert reading.text == "by hand" + count_text(5)


async def test_request_that_is_delivered_twice_at_once_is_answered_once(
    broker: Broker, http: httpx.AsyncClient, nats_client: Client
) -> None:
    """A stranger's -NAK on the delivery's ack subject makes JetStream deliver it again while it is worked on."""
    go_on = gate()
    async with (
        running(broker.url, ACK_WAIT, models("held"), role="worker", id="holds"),
        events(http, "s") as stream,
    ):
        message_id = (await post(http, "s", model="held")).json()["message_id"]
        await stream.read(5)
        info = await nats_client.jetstream(timeout=5).consumer_info(REQUESTS, CONSUMER)
        assert info.delivered is not None
        for delivery in range(1, 4):
            ack = (
                f"$JS.ACK.{REQUESTS}.{CONSUMER}.{delivery}.{info.delivered.stream_seq}"
                f".{info.delivered.consumer_seq + delivery - 1}.1700000000000000000.0"
            )
            await nats_client.publish(ack, b"-NAK")

            async def is_delivered_again(count: int = delivery) -> bool:
                now = await nats_client.jetstream(timeout=5).consumer_info(REQUESTS, CONSUMER)
                assert now.delivered is not None
                return bool(now.delivered.consumer_seq >= info.delivered.consumer_seq + count)  # type: ignore[union-attr]

            await eventually(is_delivered_again, timeout=PATIENCE_SECONDS, message="a redelivery")
        go_on.set()
        assert_exact(await stream.read_finals(), HELD_TOKENS)
        await wait_queue_empty(nats_client)
    assert len(await claims(nats_client, "s", message_id)) == 1


async def test_garbage_of_the_largest_size_becomes_a_dead_letter_too(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    """A copy of it with our headers is past the broker's limit: as much as fits is kept."""
    body = b"garbage " * (nats_client.max_payload // 8 - 1)
    await nats_client.jetstream(timeout=5).publish("chat.workflow.execute.s", body)
    assert (await post(http, "s", **COUNT)).status_code == 202
    assert_exact(await read_on(http, "s", Reading(), **{"from": "start"}), 5)
    await wait_queue_empty(nats_client)
    (letter,) = await dead_letters(nats_client)
    assert body.startswith(letter.data)
    assert len(letter.data) > len(body) // 2


@pytest.mark.parametrize("spare", [64, 700, 1500, 5000])
async def test_foreign_request_of_the_largest_size_is_answered(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client, spare: int
) -> None:
    """Published past our pods, so nobody measured it: what is stored of it has to fit beside the answer."""
    bare = len(json.dumps(request(message="")).encode())
    message = "x" * (nats_client.max_payload - bare - spare)
    body = json.dumps(request(message=message)).encode()
    await nats_client.publish("chat.workflow.execute.s", body)
    reading = await read_on(http, "s", Reading(), **{"from": "start"})
    assert len(reading.finals) == 1
    await wait_queue_empty(nats_client)
    assert (await post(http, "s", **COUNT)).status_code == 202
    await read_on(http, "s", reading, finals=2)
