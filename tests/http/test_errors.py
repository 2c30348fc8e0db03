"""Errors are problem documents with a stable code; whatever is refused never reaches NATS."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.hub import lookout
from chatmesh.ingress import erasing, history, intake, stopping
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import is_ready, pod_and_client
from tests.support.models import gate, models
from tests.support.reading import events, post
from tests.support.waiting import eventually
from tests.support.watching import watching

MESSAGES = "/v1/sessions/s/messages"


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer's problem document, checked for what every one has."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].split(";")[0] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["code"] == code
    assert body["status"] == status
    assert body["type"].endswith(code)
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text
    return body


NOT_JSON = [b"", b"{", b"nonsense", b"\xff", b'{"message": NaN}', b'{"a":' * 2000, b"[" * 100_000]


async def test_body_that_is_not_json_is_400(broker: Broker) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        for data in NOT_JSON:
            answer = await client.post(MESSAGES, content=data, headers={"Content-Type": "application/json"})
            problem(answer, 400, "not_json")


NOT_VALID: list[tuple[dict[str, Any], str]] = [
    ({}, "message"),
    ({"message": 5}, "message"),
    ({"message": None}, "message"),
    ({"message": "x", "message_id": "a.b"}, "message_id"),
    ({"message": "x", "message_id": "*"}, "message_id"),
    ({"message": "x", "message_id": ""}, "message_id"),
    ({"message": "x", "message_id": "a" * 129}, "message_id"),
    ({"message": "x", "message_id": "a\n"}, "message_id"),
    ({"message": "x", "context": 5}, "context"),
    ({"message": "x", "context": {"temperature": 3}}, "context.temperature"),
    ({"message": "x", "context": {"max_tokens": 0}}, "context.max_tokens"),
    ({"message": "x", "context": {"model": ""}}, "context.model"),
    ({"message": "x", "context": {"conversation_history": "no"}}, "context.conversation_history"),
    ({"message": "x", "context": {"on_busy": "panic"}}, "context.on_busy"),
    ({"message": "x", "context": {"tokens_per_second": -1}}, "context.tokens_per_second"),
    ({"message": "x", "user_id": {}}, "user_id"),
]


async def test_field_that_is_not_valid_is_422_with_its_path(broker: Broker) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        for body, path in NOT_VALID:
            found = problem(await client.post(MESSAGES, json=body), 422, "invalid_body")
            assert path in [error["path"] for error in found["errors"]]
            assert path in found["detail"]


async def test_body_that_is_no_object_is_422(broker: Broker) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        for data in (b"[]", b"5", b'"text"', b"null"):
            answer = await client.post(MESSAGES, content=data, headers={"Content-Type": "application/json"})
            problem(answer, 422, "invalid_body")


async def test_every_problem_of_a_body_is_told_at_once(broker: Broker) -> None:
    body = {"message": 5, "message_id": "a.b", "context": {"temperature": "hot"}}
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        found = problem(await client.post(MESSAGES, json=body), 422, "invalid_body")
    assert {error["path"] for error in found["errors"]} >= {"message", "message_id", "context.temperature"}


async def test_unknown_model_is_422_and_lists_the_known_ones(broker: Broker, nats_client: Client) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):

        async def is_refused() -> httpx.Response | None:
            answer = await post(client, "s", model="no-such-model")
            return answer if answer.status_code != 202 else None

        found = problem(await eventually(is_refused), 422, "unknown_model")
    assert {"demo", "echo", "count"} <= set(found["models"])
    assert "no-such-model" in found["detail"]


async def test_paths_and_methods_that_are_none_are_404_and_405(broker: Broker) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        problem(await client.get("/nothing/here"), 404, "not_found")
        problem(await client.get("/v1/sessions/s/nothing"), 404, "not_found")
        answer = await client.put(MESSAGES, json={})
        problem(answer, 405, "method_not_allowed")
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) >= {"GET", "POST"}


async def test_another_content_type_is_415(broker: Broker) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        for content_type in ("text/plain", "application/x-www-form-urlencoded", None):
            headers = {"Content-Type": content_type} if content_type else {}
            answer = await client.post(MESSAGES, content=b'{"message": "x"}', headers=headers)
            problem(answer, 415, "not_json_type")


async def test_body_past_max_body_bytes_is_413_and_the_largest_allowed_is_taken(broker: Broker) -> None:
    async with pod_and_client(broker.url, "pod-1", "http.max_body_bytes=1000") as (_, client):
        overhead = len('{"message":""}')
        fits = '{"message":"%s"}' % ("x" * (1000 - overhead))
        json_type = {"Content-Type": "application/json"}
        assert (await client.post(MESSAGES, content=fits, headers=json_type)).status_code == 202
        problem(await client.post(MESSAGES, content=fits + " ", headers=json_type), 413, "too_large")


@pytest.mark.parametrize(
    "character", ["x", "漢", "\x01"], ids=["one byte", "three bytes", "six bytes in JSON"]
)
async def test_request_past_the_brokers_max_payload_is_413_and_the_longest_one_taken_is_answered(
    tmp_path: Path, character: str
) -> None:
    """Measured as it goes on the wire; one byte too many would make the client close its connection for good."""
    broker = await Broker.start(tmp_path, config_extra="max_payload: 16384\n")
    try:
        async with pod_and_client(broker.url, "x", role="all") as (_, client):
            low, high = 1, 16_384
            while low + 1 < high:
                size = (low + high) // 2
                answer = await post(client, f"s{size}", character * size, model="echo", message_id="m")
                low, high = (size, high) if answer.status_code == 202 else (low, size)
            # The sessions' names are of one length near the limit, so this one is a byte too long.
            longer = {"model": "echo", "message_id": "m2"}
            problem(await post(client, f"s{low}", character * (high + 1), **longer), 413, "too_large")
            async with events(client, f"s{low}", message_id="m") as stream:
                assert (await stream.read_all()).text == character * low
            assert await is_ready(client)
    finally:
        broker.stop()


async def test_full_session_is_429_with_retry_after_and_takes_messages_again(
    broker: Broker, nats_client: Client
) -> None:
    settings = ("sessions.queue_limit=2", models("held"))
    async with pod_and_client(broker.url, "x", *settings, role="all") as (_, client):
        go_on, count = gate(), {"model": "count", "max_tokens": 60}
        for number, asked in enumerate(({"model": "held"}, count, count)):  # one is answered, two wait
            assert (await post(client, "s", message_id=f"m{number}", **asked)).status_code == 202
        answer = await post(client, "s", message_id="m3", **count)
        problem(answer, 429, "session_queue_full")
        assert answer.headers["Retry-After"].isdigit()
        assert (await post(client, "s", message_id="m2", **count)).json()["duplicate"], (
            "known ones are no new ones"
        )
        assert (await post(client, "other", **count)).status_code == 202, "a full session holds up no other"
        go_on.set()
        async with events(client, "s", message_id="m1") as stream:
            await stream.read_all()
        assert (await post(client, "s", message_id="m3", **count)).status_code == 202


async def test_while_the_broker_is_away_nothing_is_accepted_and_all_is_503_with_retry_after(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once: whoever waited for the broker here would do so for an hour."""
    for module, name in [
        (intake, "ACCEPT_SECONDS"),
        (stopping, "STORE_SECONDS"),
        (erasing, "STORE_SECONDS"),
        *((module, "READ_SECONDS") for module in (intake, history, stopping, erasing)),
    ]:
        monkeypatch.setattr(module, name, 3600.0)
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        broker.kill()
        await eventually(lambda: _is_away(client))
        answers = await asyncio.gather(
            post(client, "s"),
            post(client, "s", message_id="m"),
            client.get(MESSAGES),
            client.get(f"{MESSAGES}/m"),
            client.get("/v1/sessions"),
            client.delete(f"{MESSAGES}/m"),
            client.delete("/v1/sessions/s"),
        )
        problem(await post(client, "s", message_id="a.b"), 422, "invalid_body")
        for answer in answers:
            problem(answer, 503, "broker_away")
            assert answer.headers["Retry-After"].isdigit()
        await broker.launch()
        await eventually(lambda: is_ready(client))
        assert (await client.get(MESSAGES)).status_code == 404, "nothing was accepted"


async def test_request_id_is_on_every_answer(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        await post(client, "s", model="count", max_tokens=1, message_id="m")
        async with events(client, "s", message_id="m") as stream:
            await stream.read_all()
            assert stream.response.headers["X-Request-Id"]
        paths = [
            "/healthz",
            "/readyz",
            "/metrics",
            "/",
            "/nothing",
            MESSAGES,
            f"{MESSAGES}/m",
            "/v1/sessions/a.b/events",
        ]
        for path in paths:
            answer = await client.get(path, headers={"X-Request-Id": "mine"})
            assert answer.headers["X-Request-Id"] == "mine", path
        own = [(await client.get("/healthz")).headers["X-Request-Id"] for _ in range(2)]
    assert len(set(own)) == 2


HOSTILE = [
    "a.b",
    "*",
    "%3E",
    "%0b",
    "%0C",
    "a%00b",
    "a" * 129,
    "a%20b",
    "a%2Eb",
    "%C3%A9",
    "a%0D%0Ab",
    "$JS",
    "a%2Fb",
]


async def test_hostile_ids_are_422_and_never_reach_nats(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 3600.0)  # a pod reads of its own accord too
    async with (
        pod_and_client(broker.url, "pod-1", "heartbeat.interval_seconds=600") as (_, client),
        watching(nats_client, "chat.>") as chat,
        watching(nats_client, "$JS.API.DIRECT.>") as reads,
    ):
        for hostile in HOSTILE:
            session = f"/v1/sessions/{hostile}"
            answers = [
                await client.post(f"{session}/messages", json={"message": "x"}),
                await client.get(f"{session}/messages"),
                await client.get(f"{session}/messages/m"),
                await client.get(f"{session}/events"),
                await client.delete(f"{session}/messages/m"),
                await client.delete(session),
                await client.get(f"{MESSAGES}/{hostile}"),
                await client.get(f"/v1/sessions/s/events?message_id={hostile}"),
                await client.delete(f"{MESSAGES}/{hostile}"),
            ]
            for answer in answers:
                problem(answer, 422, "invalid_id")
        await nats_client.flush()
    assert not [message.subject for message in chat.messages if "heartbeat" not in message.subject]
    assert not reads.messages


async def test_clients_headers_never_reach_nats(broker: Broker, nats_client: Client) -> None:
    """`Nats-Rollup: all` would wipe the stream."""
    hostile = {"Nats-Rollup": "all", "Nats-TTL": "1s", "Nats-Msg-Id": "x", "Nats-Expected-Stream": "y"}
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        for session_id in ("a", "b"):
            answer = await client.post(
                f"/v1/sessions/{session_id}/messages", json={"message": "x"}, headers=hostile
            )
            assert answer.status_code == 202
        requests = await stored.stored(nats_client, "WORKFLOW_REQUESTS", "chat.workflow.execute.*")
    assert len(requests) == 2
    assert not [
        name for request in requests for name in request.headers if name in hostile and name != "Nats-Msg-Id"
    ]


async def _is_away(client: httpx.AsyncClient) -> bool:
    return not await is_ready(client)
