"""The seed's "Distributed Tracing": one id from the client's request to every message of its answer, and in the logs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.protocol import trace
from tests.faults.support import start_pod, start_worker
from tests.flows.test_workflow_execution import seed_request
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.processes import Process
from tests.support.reading import events
from tests.support.waiting import eventually
from tests.support.watching import Watch, watching

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BODY = {"message": "go", "context": {"model": "count", "max_tokens": 3}}


def traces(watch: Watch) -> set[str | None]:
    return {(message.headers or {}).get("traceparent") for message in watch.messages}


async def post(client: httpx.AsyncClient, *headers: tuple[str, str]) -> None:
    answer = await client.post("/v1/sessions/s/messages", json=BODY, headers=list(headers))
    assert answer.status_code == 202


async def records(client: Client) -> set[str | None]:
    return {(record.headers or {}).get("traceparent") for record in await stored.records(client, "s")}


async def test_clients_trace_is_on_the_request_on_what_is_stored_and_on_what_is_sent(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "p", role="all") as (_, client),
        watching(nats_client, "chat.workflow.execute.s") as requests,
        watching(nats_client, "chat.pod.p.response") as sent,
        events(client, "s") as stream,
    ):
        await post(client, ("traceparent", GIVEN))
        await stream.read_finals()
        await eventually(lambda: sent.has_final)
        assert traces(requests) == traces(sent) == await records(nats_client) == {GIVEN}


@pytest.mark.parametrize("given", [(), ("nonsense",), (GIVEN, GIVEN)])
async def test_message_without_a_trace_gets_one_that_goes_all_the_way(
    broker: Broker, nats_client: Client, given: tuple[str, ...]
) -> None:
    async with (
        pod_and_client(broker.url, "p", role="all") as (_, client),
        watching(nats_client, "chat.workflow.execute.s") as requests,
        events(client, "s") as stream,
    ):
        await post(client, *(("traceparent", value) for value in given))
        await stream.read_finals()
        (made,) = traces(requests)
        assert made is not None
        assert trace.parse([made]) == made
        assert made != GIVEN
        assert await records(nats_client) == {made}


async def test_no_other_header_of_a_client_goes_any_further(broker: Broker, nats_client: Client) -> None:
    async with (
        pod_and_client(broker.url, "p") as (_, client),
        watching(nats_client, "chat.workflow.execute.s") as requests,
    ):
        await post(
            client, ("traceparent", GIVEN), ("tracestate", "a=b"), ("Nats-Rollup", "all"), ("baggage", "x=y")
        )
        await eventually(lambda: requests.messages)
        (request,) = requests.messages
        assert set(request.headers or {}) == {
            "Chatmesh-Wire",
            "Nats-Msg-Id",
            "Nats-Expected-Last-Subject-Sequence",
            "traceparent",
        }


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (("A" * 32, "b" * 16), f"00-{'a' * 32}-{'b' * 16}-00"),
        (("trace-1", "span-1"), None),
    ],
)
async def test_ids_of_the_seeds_envelope_go_on_where_they_are_such(
    broker: Broker, nats_client: Client, ids: tuple[str, str], expected: str | None
) -> None:
    envelope: dict[str, Any] = {"trace_id": ids[0], "span_id": ids[1], "data": json.loads(seed_request("s"))}
    async with (
        running(broker.url, role="worker", id="w"),
        watching(nats_client, "chat.session.s.broadcast") as watch,
    ):
        await nats_client.publish("chat.workflow.execute.s", json.dumps(envelope).encode())
        await eventually(lambda: watch.has_final)
        (found,) = traces(watch)
        assert found is not None
        assert found == (expected or trace.parse([found]))
        assert await records(nats_client) == {found}


async def test_logs_of_pod_and_worker_have_the_same_trace(
    chatmesh: Callable[..., Process], broker: Broker, nats_client: Client
) -> None:
    worker = await start_worker(chatmesh, nats_client, broker.url, "w")
    pod = await start_pod(chatmesh, broker.url, "p")
    async with pod.client() as client:
        await post(client, ("traceparent", GIVEN))
    accepted = await pod.process.wait_for_line('"event": "ingress.accepted"', stream="stderr")
    turn = await worker.wait_for_line('"event": "workflow.turn"', stream="stderr")
    assert {json.loads(line.string)["trace_id"] for line in (accepted, turn)} == {trace.trace_id(GIVEN)}
