"""A session's whole life over HTTP: every answer is the documented one, with the broker there and away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from schemathesis.schemas import APIOperation, BaseSchema

from tests.http_schema.meshes import code_of, form_of, schema_of
from tests.support.broker import Broker
from tests.support.mesh import client_of, models_known, running
from tests.support.models import models
from tests.support.waiting import eventually

SESSION = "/v1/sessions/{session_id}"
MESSAGES = f"{SESSION}/messages"
MESSAGE = f"{MESSAGES}/{{message_id}}"
EVENTS = f"{SESSION}/events"
STREAMING = {"Accept": "text/event-stream"}
# Slow enough that it is still answering when it is looked at or stopped.
SLOW = {"message": "hi", "context": {"model": "count", "tokens_per_second": 1}}


PATIENT = "heartbeat.interval_seconds=60"
"""Reading the document takes seconds, in which the loop hears no heartbeat: nobody is dead for that."""


class Asked:
    """A client that checks every answer against the document."""

    def __init__(self, schema: BaseSchema, client: httpx.AsyncClient) -> None:
        self._schema = schema
        self._client = client

    async def __call__(
        self,
        method: str,
        path: str,
        expected: int,
        *,
        message_id: str = "m",
        model: str = "",
        **options: Any,
    ) -> httpx.Response:
        operation: APIOperation = self._schema[path][method]
        url = path.format(session_id="s", message_id=message_id, model=model)
        answer = await self._client.request(method, url, **options)
        assert answer.status_code == expected, answer.text
        operation.validate_response(answer)
        return answer


@pytest.mark.slow
async def test_answers_of_a_sessions_whole_life_are_as_documented(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        ask = Asked(schema_of(mesh), client)
        await ask("GET", "/v1/sessions", 200)
        await ask("GET", MESSAGES, 404)
        await ask("GET", MESSAGE, 404)
        await ask("DELETE", MESSAGE, 404)
        await ask("DELETE", SESSION, 404)

        said = {"message": "one two", "message_id": "m", "context": {"model": "echo"}}
        accepted = await ask("POST", MESSAGES, 202, json=said)
        assert accepted.headers["location"] == "/v1/sessions/s/messages/m"
        streamed = await ask("POST", MESSAGES, 200, json=said, headers=STREAMING)
        assert streamed.headers["x-message-id"] == "m"
        assert (await ask("POST", MESSAGES, 202, json=said)).json()["duplicate"] is True
        conflict = await ask("POST", MESSAGES, 422, json=said | {"message": "three"})
        assert conflict.json()["code"] == "idempotency_conflict"
        await ask("DELETE", MESSAGE, 200)
        read = await ask("GET", EVENTS, 200, params={"message_id": "m"})
        last = [line for line in read.text.splitlines() if line.startswith("id: ")][-1].removeprefix("id: ")
        await ask("GET", EVENTS, 204, params={"message_id": "m", "last_event_id": last})

        for name in ("running", "queued"):
            await ask("POST", MESSAGES, 202, json=SLOW | {"message_id": name})
        await eventually(lambda: is_running(ask))
        page = (await ask("GET", MESSAGES, 200)).json()
        assert [row["status"] for row in page["messages"]] == ["done"] * 2 + ["running"] * 2 + ["queued"] * 2
        assert (await ask("GET", MESSAGES, 200, params={"limit": 1})).json()["next"]
        await ask("DELETE", MESSAGE, 202, message_id="queued")
        await ask("DELETE", MESSAGE, 202, message_id="running")
        await eventually(lambda: is_stopped(ask, "running"))
        await eventually(lambda: is_stopped(ask, "queued"))
        await ask("GET", "/v1/sessions", 200)
        await ask("DELETE", SESSION, 202)
        await ask("GET", MESSAGES, 404)


COMPLETIONS = "/v1/chat/completions"
MODEL = "/v1/models/{model}"


async def test_answers_to_openais_clients_are_as_documented(broker: Broker) -> None:
    chat = {"model": "echo", "messages": [{"role": "user", "content": "one two"}]}
    settings = (models("refusing"), PATIENT)
    async with running(broker.url, *settings) as mesh, client_of(mesh) as client:
        ask = Asked(schema_of(mesh), client)
        await models_known(client)
        whole = await ask("POST", COMPLETIONS, 200, json=chat)
        assert whole.json()["choices"][0]["message"]["content"] == "one two"
        streamed = await ask("POST", COMPLETIONS, 200, json=chat | {"stream": True})
        assert streamed.text.endswith("data: [DONE]\n\n")
        await ask("POST", COMPLETIONS, 404, json=chat | {"model": "none"})
        await ask("POST", COMPLETIONS, 502, json=chat | {"model": "refusing"})
        await ask("POST", COMPLETIONS, 400, json=chat | {"messages": []})
        await ask("POST", COMPLETIONS, 422, json=chat, headers={"X-Session-Id": "*"})
        await ask("GET", "/v1/models", 200)
        await ask("GET", MODEL, 200, model="echo")
        await ask("GET", MODEL, 404, model="none")


async def is_running(ask: Asked) -> bool:
    return bool((await ask("GET", MESSAGE, 200, message_id="running")).json()["content"])


async def is_stopped(ask: Asked, message_id: str) -> bool:
    return (await ask("GET", MESSAGE, 200, message_id=message_id)).json()["status"] == "stopped"


async def test_full_and_busy_sessions_are_as_documented(broker: Broker) -> None:
    async with running(broker.url, "sessions.queue_limit=1") as mesh, client_of(mesh) as client:
        ask = Asked(schema_of(mesh), client)
        await ask("POST", MESSAGES, 202, json=SLOW)
        rejecting = SLOW | {"context": SLOW["context"] | {"on_busy": "reject"}}  # type: ignore[operator]
        assert (await ask("POST", MESSAGES, 422, json=rejecting)).json()["code"] == "session_busy"
        await ask("POST", MESSAGES, 202, json=SLOW)
        assert (await ask("POST", MESSAGES, 429, json=SLOW)).json()["code"] == "session_queue_full"
        await ask("DELETE", SESSION, 202)  # else it would answer on, and the worker wait for it


@asynccontextmanager
async def broker_gone(broker: Broker) -> AsyncIterator[Asked]:
    async with running(broker.url, role="pod") as mesh, client_of(mesh) as client:
        broker.stop()
        await eventually(lambda: not mesh.is_ready)
        yield Asked(schema_of(mesh), client)


async def test_without_a_broker_calls_are_documented_503s_and_streams_say_when_to_come_back(
    broker: Broker,
) -> None:
    calls = [
        ("GET", "/v1/sessions"),
        ("GET", MESSAGES),
        ("GET", MESSAGE),
        ("DELETE", MESSAGE),
        ("DELETE", SESSION),
    ]
    async with broker_gone(broker) as ask:
        assert (await ask("POST", MESSAGES, 503, json={"message": "hi"})).json()["code"] == "broker_away"
        assert (await ask("GET", "/readyz", 503)).json()["code"] == "not_ready"
        await ask("GET", "/healthz", 200)
        await ask("GET", "/metrics", 200)
        # Side by side: each tries for seconds.
        events, *answers = await asyncio.gather(
            ask("GET", EVENTS, 200), *(ask(method, path, 503) for method, path in calls)
        )
        assert [answer.json()["code"] for answer in answers] == ["broker_away"] * len(calls)
        assert "retry:" in events.text


PAGES = ["/healthz", "/readyz", "/metrics", "/openapi.json", "/", "/v1/sessions"]


async def test_head_answers_as_get_does_without_a_body(broker: Broker) -> None:
    async with running(broker.url, role="pod") as mesh, client_of(mesh) as client:
        for path in PAGES:
            whole, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.headers["content-type"]) == (200, whole.headers["content-type"])
            assert head.content == b""


async def test_every_wrong_method_is_a_405_problem_that_names_the_right_ones(broker: Broker) -> None:
    async with running(broker.url, role="pod") as mesh, client_of(mesh) as client:
        for path, item in schema_of(mesh).raw_schema["paths"].items():
            right = {method.upper() for method in item}
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - right:
                url = path.format(
                    session_id="s", message_id="m", model="echo", response_id="resp_1_s_m", letter_id="1"
                )
                answer = await client.request(method, url)
                assert answer.status_code == 405
                assert code_of(answer) in ("method_not_allowed", "")
                assert answer.headers["content-type"].split(";")[0] == form_of(path)
                assert set(answer.headers["allow"].split(", ")) - {"HEAD"} == right
