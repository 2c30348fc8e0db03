"""Spans at a real collector: one trace for a message, from its acceptance to its delivery."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.aio.client import Client
from prometheus_client import REGISTRY

from chatmesh.protocol import trace
from tests.faults.support import wait_queue_empty
from tests.providers.dialects import DIALECTS, Dialect
from tests.providers.upstreams import Upstream, status, stream, upstream
from tests.support import stored
from tests.support.broker import Broker
from tests.support.collector import Collector, collecting
from tests.support.mesh import client_of, pod_and_client, running
from tests.support.reading import Reading, events
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"
SAID = "a secret that somebody wrote"
USER = "user-hunter2"
KEY = "sk-hunter2-Zq"

ALL = ("accepted", "queued", "attempt", "provider", "delivered")


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as collector:
        yield collector


def to(collector: Collector, *more: str) -> list[str]:
    return [f"tracing.endpoint={collector.url}", *more]


def models(dialect: Dialect, server: Upstream) -> str:
    base = f"{server.url}/v1" if dialect.name == "openai" else server.url
    given = {"provider": dialect.name, "base_url": base, "api_key": KEY, "retries": 0}
    return f"models={json.dumps({'m': given, 'wild-*': given, 'spare': {'provider': 'demo'}})}"


async def ask(
    http: httpx.AsyncClient, session_id: str = "s", given: str | None = None, **context: Any
) -> Reading:
    """Posts a message, and reads its answer on a stream that was open before."""
    headers = {} if given is None else {"traceparent": given}
    body = {"message": SAID, "user_id": USER, "message_id": "m1", "context": {"model": "count"} | context}
    async with events(http, session_id) as reader:
        answer = await http.post(f"/v1/sessions/{session_id}/messages", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        return await reader.read_finals()


async def test_one_trace_shows_a_message_from_its_acceptance_to_its_delivery(
    broker: Broker, collector: Collector
) -> None:
    async with (
        running(broker.url, *to(collector), role="worker", id="w"),
        pod_and_client(broker.url, "p", *to(collector)) as (_, http),
    ):
        await ask(http, given=GIVEN, max_tokens=5, tokens_per_second=50)
        await collector.wait(*ALL)
    accepted, queued, attempt, provider, delivered = (collector.one(name) for name in ALL)
    assert {span.trace_id for span in collector.spans} == {TRACE}
    assert accepted.parent_id == PARENT
    assert queued.parent_id == attempt.parent_id == accepted.id
    assert provider.parent_id == delivered.parent_id == attempt.id
    assert len({span.id for span in collector.spans}) == len(ALL)
    assert accepted.began <= attempt.began <= provider.began
    assert attempt.began <= attempt.events["first_token"] <= attempt.ended
    assert queued.ended == attempt.began
    assert not any(span.is_error for span in collector.spans)
    ids = {"session_id": "s", "message_id": "m1"}
    assert accepted.attributes == ids | {"duplicate": False}
    assert queued.attributes == ids
    assert attempt.attributes == ids | {
        "attempt": 1,
        "worker_id": "w",
        "deliveries": 1,
        "model": "count",
        "finish_reason": "stop",
        "outcome": "done",
    }
    assert provider.attributes == {"model": "count", "finish_reason": "stop"}
    assert delivered.attributes == ids | {"readers": 1}
    named = {span.name: span.resource["service.instance.id"] for span in collector.spans}
    assert named == {"accepted": "p", "queued": "w", "attempt": "w", "provider": "w", "delivered": "p"}
    assert {span.resource["service.name"] for span in collector.spans} == {"chatmesh"}


async def test_trace_that_begins_here_has_the_acceptance_as_its_root(
    broker: Broker, collector: Collector
) -> None:
    async with pod_and_client(broker.url, "p", *to(collector), role="all") as (_, http):
        await ask(http, max_tokens=2)
        await collector.wait("accepted", "attempt")
    assert collector.one("accepted").parent_id == ""
    assert collector.one("attempt").parent_id == collector.one("accepted").id
    assert collector.one("attempt").trace_id == collector.one("accepted").trace_id


@pytest.mark.parametrize(("given", "ratio"), [(UNSAMPLED, 1), (None, 0)])
async def test_trace_that_is_not_sampled_is_carried_and_not_exported(
    broker: Broker, nats_client: Client, collector: Collector, given: str | None, ratio: float
) -> None:
    settings = to(collector, f"tracing.sample_ratio={ratio}")
    async with pod_and_client(broker.url, "p", *settings, role="all") as (_, http):
        await ask(http, given=given, max_tokens=2)
        # The next one is sampled: what comes before it would have come too.
        await ask(http, "other", given=GIVEN.replace(TRACE, "e" * 32), max_tokens=2)
        await collector.wait("attempt")
        carried = {(record.headers or {})["traceparent"] for record in await stored.records(nats_client, "s")}
    assert {span.trace_id for span in collector.spans} == {"e" * 32}
    assert len(carried) == 1
    assert carried == {given} if given else {each[-3:] for each in carried} == {"-00"}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_models_server_is_asked_in_the_answers_trace(
    broker: Broker, collector: Collector, dialect: Dialect
) -> None:
    async with (
        upstream(stream(dialect.answer("hi ", "you"))) as server,
        running(broker.url, models(dialect, server), *to(collector), id="me") as mesh,
        client_of(mesh) as http,
    ):
        await ask(http, given=GIVEN, model="wild-thing")
        await collector.wait(*ALL)
        (asked,) = server.asked
    provider = collector.one("provider")
    assert asked.headers["traceparent"] == f"00-{TRACE}-{provider.id}-01"
    assert provider.attributes == {"model": "wild-*", "finish_reason": "stop"}
    assert collector.one("attempt").attributes["model"] == "wild-*"


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_models_server_gets_the_clients_trace_where_no_spans_are_made(
    broker: Broker, dialect: Dialect
) -> None:
    async with (
        upstream(stream(dialect.answer("hi"))) as server,
        running(broker.url, models(dialect, server), id="me") as mesh,
        client_of(mesh) as http,
    ):
        await ask(http, given=GIVEN, model="m")
        assert [asked.headers["traceparent"] for asked in server.asked] == [GIVEN]


async def test_model_that_fails_and_the_one_that_goes_on_are_two_calls_of_one_attempt(
    broker: Broker, collector: Collector
) -> None:
    async with upstream(status(500)) as server:
        given = {"provider": "openai", "base_url": f"{server.url}/v1", "retries": 0, "fallbacks": ["count"]}
        async with (
            running(
                broker.url,
                f"models={json.dumps({'m': given, 'count': {'provider': 'demo'}})}",
                *to(collector),
                id="me",
            ) as mesh,
            client_of(mesh) as http,
        ):
            await ask(http, given=GIVEN, model="m", max_tokens=2)
            await collector.wait("provider", "provider", "attempt")
    failed, good = collector.named("provider")
    assert (failed.attributes["model"], good.attributes["model"]) == ("m", "count")
    assert failed.is_error
    assert failed.error.startswith("provider_")
    assert not good.is_error
    assert failed.parent_id == good.parent_id == collector.one("attempt").id
    assert not collector.one("attempt").is_error


async def test_refused_message_is_a_span_with_the_code_of_its_problem(
    broker: Broker, collector: Collector
) -> None:
    async with pod_and_client(broker.url, "p", *to(collector), role="all") as (mesh, http):

        async def is_refused() -> bool:
            body = {"message": "go", "context": {"model": "nobodys"}}
            headers = {"traceparent": GIVEN}
            answer = await http.post("/v1/sessions/s/messages", json=body, headers=headers)
            return answer.status_code == 422

        await eventually(is_refused)
        await collector.wait("accepted")
        assert mesh.is_ready
    refused = [span for span in collector.spans if span.is_error]
    assert {span.error for span in refused} == {"unknown_model"}
    assert {span.parent_id for span in refused} == {PARENT}


async def test_stopped_answer_says_so_in_its_attempt(broker: Broker, collector: Collector) -> None:
    async with pod_and_client(broker.url, "p", *to(collector), role="all") as (_, http):
        async with events(http, "s") as reader:
            body = {
                "message": "go",
                "message_id": "m1",
                "context": {"model": "count", "tokens_per_second": 20},
            }
            await http.post("/v1/sessions/s/messages", json=body, headers={"traceparent": GIVEN})
            await reader.read(1)
            await http.delete("/v1/sessions/s/messages/m1")
            await reader.read_finals()
        await collector.wait(*ALL)
    assert collector.one("attempt").attributes["finish_reason"] == "cancelled"
    assert collector.one("provider").attributes["cancelled"] is True
    assert not any(span.is_error for span in collector.spans)


async def test_ids_of_the_seeds_envelope_are_the_parent_of_what_the_worker_does(
    broker: Broker, nats_client: Client, collector: Collector
) -> None:
    request = {
        "message_id": "m1",
        "session_id": "s",
        "user_id": "u",
        "message": "go",
        "context": {"model": "count", "max_tokens": 2},
        "timestamp": "2025-11-17T20:30:00Z",
    }
    envelope = {"trace_id": TRACE, "span_id": PARENT, "data": request}
    async with running(broker.url, *to(collector), role="worker", id="w"):
        await nats_client.publish("chat.workflow.execute.s", json.dumps(envelope).encode())
        await collector.wait("queued", "attempt", "provider")
    assert {span.trace_id for span in collector.spans} == {TRACE}
    assert collector.one("queued").parent_id == collector.one("attempt").parent_id == PARENT


async def test_no_span_says_what_was_said_or_who_said_it(broker: Broker, collector: Collector) -> None:
    dialect = DIALECTS[0]
    async with (
        upstream(stream(dialect.answer("an answer that nobody else may see"))) as server,
        running(broker.url, models(dialect, server), *to(collector), id="me") as mesh,
        client_of(mesh) as http,
    ):
        await ask(http, given=GIVEN, model="wild-hunter2")
        await collector.wait(*ALL)
    said = repr(collector.spans)
    assert "m1" in said
    for secret in (SAID, USER, KEY, "nobody else", "hunter2"):
        assert secret not in said


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"chatmesh_trace_spans_{name}_total", labels) or 0.0


async def test_collector_that_refuses_costs_spans_that_are_counted_and_no_answer(
    broker: Broker, nats_client: Client, collector: Collector
) -> None:
    collector.status = 400
    before = counted("dropped", reason="not_taken")
    async with pod_and_client(broker.url, "p", *to(collector), role="all") as (_, http):
        reading = await ask(http, given=GIVEN, max_tokens=3)
        assert len(reading.finals) == 1
        await eventually(lambda: counted("dropped", reason="not_taken") - before >= len(ALL), timeout=20)
        await wait_queue_empty(nats_client)
    assert collector.requests >= 1


async def test_spans_of_the_last_moment_are_sent_before_the_process_ends(
    broker: Broker, collector: Collector
) -> None:
    async with pod_and_client(broker.url, "p", *to(collector), role="all") as (_, http):
        await ask(http, given=GIVEN, max_tokens=2)
    # The mesh is gone: nothing comes after it.
    assert sorted(span.name for span in collector.spans) == sorted(ALL)


def test_ids_of_attempts_follow_from_their_claims() -> None:
    assert trace.span_id_of(GIVEN, "7") == trace.span_id_of(UNSAMPLED, "7")
    assert len({trace.span_id_of(GIVEN, str(token)) for token in range(100)}) == 100


CRASHING = """
from chatmesh.providers import Prompt, Resume

asked = []

async def answer(prompt: Prompt, resume: Resume):
    asked.append(prompt.traceparent)
    yield "well "
    raise ZeroDivisionError(prompt.message)
"""


async def test_attempts_that_crash_are_each_told_of_once(
    broker: Broker, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashing_model.py").write_text(CRASHING)
    monkeypatch.syspath_prepend(str(tmp_path))
    served = json.dumps({"m": {"provider": "python", "function": "crashing_model:answer"}})
    settings = to(collector, f"models={served}", "worker.max_attempts=2")
    async with running(broker.url, *settings, id="me", workers=2) as mesh, client_of(mesh) as http:
        reading = await ask(http, given=GIVEN, model="m")
        assert len(reading.finals) == 1
    asked = [trace.span_id(each) for each in sys.modules["crashing_model"].asked]
    first, second, last = collector.named("attempt")
    assert [span.attributes["attempt"] for span in (first, second, last)] == [1, 2, 3]
    assert first.attributes["outcome"] == second.attributes["outcome"] == "lost"
    assert (last.attributes["outcome"], last.error) == ("done", "attempts_exhausted")
    assert len({first.id, second.id, last.id}) == 3
    calls = collector.named("provider")
    assert [span.parent_id for span in calls] == [first.id, second.id]
    assert [span.id for span in calls] == asked
    assert {span.error for span in calls} == {"ZeroDivisionError"}
    assert SAID not in repr(collector.spans)
