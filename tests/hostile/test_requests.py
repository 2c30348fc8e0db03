"""`chat.workflow.execute.*`: what can't be decoded is buried with its reason and its body, and its session goes on."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from tests.hostile.support import (
    GARBAGE,
    WIRE,
    dead_letters,
    encode,
    good_message,
    is_queue_empty,
    metric,
    request,
    wrong_types,
)
from tests.support import stored
from tests.support.broker import Broker
from tests.support.reading import events
from tests.support.waiting import eventually

UNDECODABLE = [
    *GARBAGE.values(),
    *wrong_types(request(), needed={"message_id", "session_id"}),
    *[encode(request(message=wrong)) for wrong in (None, True, 5, 1.5, [], {})],
    encode(request("another-session")),
    encode(request(context=[1])),
    encode(request(context="x")),
    encode(request(user_id=5)),
    encode(request(correlation_id={})),
]

EXECUTE = "chat.workflow.execute.s"


@pytest.mark.parametrize("headers", [None, WIRE], ids=["a stranger's", "as if it were ours"])
async def test_undecodable_requests_are_buried_counted_logged_and_never_delivered_again(
    http: httpx.AsyncClient, nats_client: Client, logs: list[Any], headers: dict[str, str] | None
) -> None:
    before = metric("chatmesh_dead_letters_total", reason="undecodable")
    for body in UNDECODABLE:
        await nats_client.publish(EXECUTE, body, headers=headers)
    await nats_client.flush()
    await good_message(http)
    await eventually(lambda: is_queue_empty(nats_client))
    letters = await dead_letters(nats_client)
    assert [letter.data for letter in letters] == UNDECODABLE
    assert all(letter.headers["Chatmesh-Reason"] for letter in letters)
    assert metric("chatmesh_dead_letters_total", reason="undecodable") == before + len(UNDECODABLE)
    assert sum(line["event"] == "workflow.dead_letter" for line in logs) == len(UNDECODABLE)
    consumer = await stored.api(nats_client, f"CONSUMER.INFO.{stored.REQUESTS}.workflow-processor")
    assert consumer["num_ack_pending"] == 0
    assert consumer["num_redelivered"] == 0


async def test_requests_on_subjects_that_are_no_sessions_are_buried(
    http: httpx.AsyncClient, nats_client: Client
) -> None:
    names = ["a%b", "a!b", "ünï", "$x", "{}", "x" * 129, "-" * 1000]
    for name in names:
        await nats_client.publish(f"chat.workflow.execute.{name}", encode(request(name)))
    await nats_client.flush()
    await good_message(http)
    await eventually(lambda: is_queue_empty(nats_client))
    letters = await dead_letters(nats_client)
    assert {letter.data for letter in letters} == {encode(request(name)) for name in names}
    assert {letter.subject for letter in letters} == {"chat.dead.invalid"}
    assert all(letter.headers["Chatmesh-Reason"] for letter in letters)


async def test_undecodable_request_as_large_as_the_broker_takes_stops_nothing(
    http: httpx.AsyncClient, nats_client: Client
) -> None:
    """With the reason beside it, a copy would be larger than any message may be."""
    body = b"x" * nats_client.max_payload
    await nats_client.publish(EXECUTE, body)
    await nats_client.flush()
    await good_message(http)
    await eventually(lambda: is_queue_empty(nats_client))
    (letter,) = await dead_letters(nats_client)
    assert body.startswith(letter.data)
    assert len(letter.data) > 0.9 * len(body)
    assert letter.headers["Chatmesh-Reason"]


async def test_request_as_large_as_the_broker_takes_ends_once(
    http: httpx.AsyncClient, nats_client: Client
) -> None:
    """Its text is kept with the answer's first record, which has to fit a message too."""
    text = "x" * (nats_client.max_payload - len(encode(request(message=""))))
    body = encode(request(message=text))
    assert len(body) == nats_client.max_payload
    async with events(http, "s", message_id="m") as stream:
        await nats_client.publish(EXECUTE, body)
        reading = await stream.read_finals()
    assert len(reading.finals) == 1
    await eventually(lambda: is_queue_empty(nats_client))
    await good_message(http)


BROKERS_HEADERS = [
    {"Status": "404"},
    {"Status": "503", "Description": "No Responders"},
    {"Nats-Sequence": "999999", "Nats-Subject": "chat.workflow.execute.other"},
    {"Nats-Sequence": "x", "Nats-Last-Sequence": "y", "Nats-Num-Pending": "z"},
    {"Nats-Time-Stamp": "yesterday", "Nats-Stream": "OTHER"},
    {"Chatmesh-Reason": "none", "Chatmesh-Wire": "none"},
    {"Nats-Msg-Id": "s:m", "traceparent": "\x01"},
]

STRANGE_CONTEXTS: list[dict[str, Any]] = [
    {"model": 5},
    {"model": ["count"]},
    {"model": ""},
    {"model": "no such model\r\nNats-Rollup: all"},
    {"model": "count", "max_tokens": "many"},
    {"model": "count", "max_tokens": -3},
    {"model": "count", "max_tokens": 2.5},
    {"model": "count", "max_tokens": 3, "tokens_per_second": "fast"},
    {"model": "count", "max_tokens": 3, "tokens_per_second": 1e300, "on_busy": 7},
    {"model": "count", "max_tokens": 3, "tokens_per_second": 2**63},
    {"model": "echo", "temperature": {}, "system_prompt": 5, "conversation_history": "none"},
    {"model": "count", "max_tokens": 3, "conversation_history": [1, None, {"role": []}]},
]


async def test_requests_with_strange_contexts_each_end_once(
    http: httpx.AsyncClient, nats_client: Client
) -> None:
    async def ask(session_id: str, context: dict[str, Any]) -> int:
        async with events(http, session_id, message_id="m") as stream:
            body = encode(request(session_id, context=context))
            await nats_client.publish(f"chat.workflow.execute.{session_id}", body)
            return len((await stream.read_finals()).finals)

    asked = [ask(f"s{number}", context) for number, context in enumerate(STRANGE_CONTEXTS)]
    assert await asyncio.gather(*asked) == [1] * len(STRANGE_CONTEXTS)
    await eventually(lambda: is_queue_empty(nats_client))


async def test_strangers_request_to_erase_is_as_good_as_any_pods(
    http: httpx.AsyncClient, nats_client: Client
) -> None:
    """Who may publish requests may erase: NATS permissions decide who that is, the header does not."""
    await good_message(http)
    await nats_client.publish(
        EXECUTE, encode(request(message_id="erase_1")), headers={"Chatmesh-Erase": "erase_1"}
    )
    await nats_client.flush()

    async def is_gone() -> bool:
        return (await http.get("/v1/sessions/s/messages")).status_code == 404

    await eventually(is_gone)
    await eventually(lambda: is_queue_empty(nats_client))
    await good_message(http)


async def test_requests_with_the_brokers_own_headers_are_answered_like_any_other(
    http: httpx.AsyncClient, nats_client: Client
) -> None:
    for number, headers in enumerate(BROKERS_HEADERS):
        session_id = f"s{number}"
        async with events(http, session_id, message_id="m") as stream:
            await nats_client.publish(
                f"chat.workflow.execute.{session_id}", encode(request(session_id)), headers=headers
            )
            reading = await stream.read_finals()
        assert reading.ids == [0, 1, 2, 3]
        await good_message(http, session_id)
    await eventually(lambda: is_queue_empty(nats_client))


async def test_nothing_of_a_clients_http_headers_reaches_nats(
    http: httpx.AsyncClient, nats_client: Client, broker: Broker
) -> None:
    await good_message(http, "other")
    kept = await stored.records(nats_client, "other")
    evil = {
        "Nats-Rollup": "all",
        "Nats-Msg-Id": "mine",
        "Nats-Expected-Stream": "OTHER",
        "Nats-Expected-Last-Sequence": "77",
        "Nats-TTL": "1s",
        "Nats-Incr": "1",
        "Chatmesh-Erase": "x",
        "Chatmesh-New": "99",
        "Chatmesh-Wire": "99",
        "Nats-Schedule": "@every 1s",
        "traceparent": "not one\tat all",
    }
    requests: list[Any] = []

    async def keep(message: Any) -> None:
        requests.append(message)

    await nats_client.subscribe("chat.workflow.execute.s", cb=keep)
    await nats_client.flush()
    content = {"message": "go", "message_id": "m", "context": {"model": "count", "max_tokens": 3}}
    answer = await http.post("/v1/sessions/s/messages", json=content, headers=evil)
    assert answer.status_code == 202
    async with events(http, "s", message_id="m") as stream:
        assert (await stream.read_finals()).ids == [0, 1, 2, 3]
    (message,) = requests
    ours = {
        "Chatmesh-New",
        "Chatmesh-Wire",
        "Nats-Msg-Id",
        "Nats-Expected-Last-Subject-Sequence",
        "traceparent",
    }
    assert set(message.headers) <= ours
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", message.headers["traceparent"]), "one of ours"
    assert message.headers["Chatmesh-Wire"] == "1"
    assert message.headers.get("Chatmesh-New", "1") == "1"
    assert message.headers["Nats-Msg-Id"] == "s:m"
    assert json.loads(message.data)["message"] == "go"
    assert await stored.records(nats_client, "other") == kept, "nothing was rolled up"
