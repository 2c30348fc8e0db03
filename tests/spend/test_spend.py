"""Every token that a model was paid for is accounted for once, however its answer ended."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
from nats.aio.client import Client

from chatmesh.app import Mesh
from tests.faults.conftest import http, new_worker, pod  # noqa: F401 - fixtures
from tests.faults.support import StartWorker, holder, wait_queue_empty
from tests.providers.dialects import ANTHROPIC, OPENAI, Dialect
from tests.providers.upstreams import HANG_UP, STREAM_HEAD, Step, chunked, stream, upstream
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import events, post
from tests.support.waiting import eventually

HALF = [STREAM_HEAD, chunked(OPENAI.begin + OPENAI.say("One ") + OPENAI.say("two "))]


def models(*servers: tuple[Dialect, str], **more: Any) -> str:
    """The setting: `m0` at the first server, with `m1` as its fallback, and so on. A dollar in, ten out."""
    made = {}
    for number, (dialect, url) in enumerate(servers):
        base = f"{url}/v1" if dialect is OPENAI else url
        others = [f"m{number + 1}"] if number + 1 < len(servers) else []
        made[f"m{number}"] = {
            "provider": dialect.name,
            "base_url": base,
            "api_key": "sk-x",
            "retries": 1,
            "price_input": 1,
            "price_output": 10,
            "fallbacks": others,
        } | more
    return f"models={json.dumps(made)}"


async def spent(client: httpx.AsyncClient, session_id: str = "s") -> dict[str, Any]:
    """Of the session's last message, from its history."""
    row = (await client.get(f"/v1/sessions/{session_id}/messages")).json()["messages"][-1]
    found: dict[str, Any] = row["spend"]
    return found


def ends(spend: dict[str, Any]) -> list[tuple[str, str, int, int]]:
    return [
        (call["model"], call["end"], call["generated_tokens"], call["delivered_tokens"])
        for call in spend["calls"]
    ]


async def test_final_chunk_history_and_metrics_say_what_an_answer_took(broker: Broker) -> None:
    async with (
        upstream(stream(OPENAI.answer("One ", "two."))) as server,
        running(broker.url, models((OPENAI, server.url))) as mesh,
        client_of(mesh) as client,
        events(client, "s") as reader,
    ):
        before = await _metric(client, 'tokens_total{kind="delivered",model="m0"}')
        request = {"message": "hi", "message_id": "m", "user_id": "u", "context": {"model": "m0"}}
        for _ in range(2):  # a repeated message is the same one
            assert (await client.post("/v1/sessions/s/messages", json=request)).status_code == 202
        final = (await reader.read_finals()).finals[0]
        spend = final["metadata"]["spend"]
        assert spend == await spent(client)
        after = await _metric(client, 'tokens_total{kind="delivered",model="m0"}')
    call = {"model": "m0", "attempt": 1, "end": "stop", "prompt_tokens": 11, "generated_tokens": 7}
    call |= {"delivered_tokens": 7, "discarded_tokens": 0, "counted": False, "cost": 0.000081}
    assert spend["calls"] == [call]
    assert (spend["user_id"], spend["cost"], spend["discarded_tokens"]) == ("u", 0.000081, 0)
    assert after - before == 7


async def _metric(client: httpx.AsyncClient, name: str) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    found = [line.split()[-1] for line in lines if line.startswith(f"chatmesh_{name} ")]
    return float(found[0]) if found else 0.0


async def test_stopped_answer_takes_its_prompt_as_the_server_counted_it_and_what_was_said(
    broker: Broker,
) -> None:
    half: list[Step] = [
        STREAM_HEAD,
        chunked(ANTHROPIC.begin + ANTHROPIC.say("One ") + ANTHROPIC.say("two ")),
        None,
    ]
    async with (
        upstream(half) as server,
        running(broker.url, models((ANTHROPIC, server.url))) as mesh,
        client_of(mesh) as client,
        events(client, "s") as reader,
    ):
        message_id = (await post(client, "s", model="m0")).json()["message_id"]
        await reader.read(2)
        await client.delete(f"/v1/sessions/s/messages/{message_id}")
        final = (await reader.read_finals()).finals[0]
    spend = final["metadata"]["spend"]
    assert "usage" not in final["metadata"]
    assert ends(spend) == [("m0", "cancelled", 2, 2)]
    assert (spend["prompt_tokens"], spend["calls"][0]["counted"]) == (11, True)


async def test_message_that_was_stopped_in_the_queue_took_nothing(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client, events(client, "s") as reader:
        await post(client, "s", model="count", tokens_per_second=5)
        await reader.read(1)
        queued = (await post(client, "s", model="count")).json()["message_id"]
        await client.delete(f"/v1/sessions/s/messages/{queued}")
        ended = (await reader.read_finals()).finals[0]
        first = (await client.get("/v1/sessions/s/messages")).json()["messages"][0]["message_id"]
        await client.delete(f"/v1/sessions/s/messages/{first}")
        await reader.read_finals(2)
    assert ended["message_id"] == queued
    assert ended["metadata"]["spend"]["calls"] == []


async def test_fallback_and_the_model_that_failed_are_both_accounted_for(broker: Broker) -> None:
    async with (
        upstream([*HALF, HANG_UP]) as first,
        upstream(stream(ANTHROPIC.answer("two three", " four"))) as second,
        running(broker.url, models((OPENAI, first.url), (ANTHROPIC, second.url))) as mesh,
        client_of(mesh) as client,
        events(client, "s") as reader,
    ):
        await post(client, "s", "count", model="m0")
        await reader.read_finals()
        spend = await spent(client)
    assert ends(spend) == [("m0", "provider_incomplete", 2, 2), ("m1", "stop", 7, 7)]
    assert [call["attempt"] for call in spend["calls"]] == [1, 1]
    assert spend["cost"] == sum(call["cost"] for call in spend["calls"])


async def test_answer_that_began_anew_has_thrown_the_first_one_away(broker: Broker) -> None:
    async with (
        upstream([*HALF, HANG_UP]) as first,
        upstream(stream(ANTHROPIC.answer("Another answer."))) as second,
        running(
            broker.url, models((OPENAI, first.url), (ANTHROPIC, second.url), continuation="restart")
        ) as mesh,
        client_of(mesh) as client,
        events(client, "s") as reader,
    ):
        await post(client, "s", model="m0")
        await reader.read_finals()
        spend = await spent(client)
    assert ends(spend) == [("m0", "provider_incomplete", 2, 0), ("m1", "stop", 7, 7)]
    assert spend["discarded_tokens"] == 2


async def test_dead_workers_tokens_are_accounted_for_by_the_one_that_goes_on(
    http: httpx.AsyncClient,  # noqa: F811
    nats_client: Client,
    new_worker: StartWorker,  # noqa: F811
) -> None:
    workers = dict(zip("ab", await asyncio.gather(new_worker("a"), new_worker("b")), strict=True))
    async with events(http, "s") as reader:
        await post(http, "s", model="count", max_tokens=60, tokens_per_second=15)
        await reader.read(10)
        workers[await holder(nats_client, "s")].kill()
        await reader.read_finals()
    await wait_queue_empty(nats_client)
    spend = await spent(http)
    lost, last = ends(spend)
    assert (lost[1], last[1]) == ("lost", "stop")
    assert lost[2] >= 10
    assert lost[2] + last[2] == lost[3] + last[3] == 60
    assert [call["attempt"] for call in spend["calls"]] == [1, 2]


async def test_worker_that_leaves_hands_its_account_over(
    broker: Broker,
    pod: Mesh,  # noqa: F811
    http: httpx.AsyncClient,  # noqa: F811
) -> None:
    async with events(http, "s") as reader:
        async with running(broker.url, "worker.drain_seconds=0.1", role="worker", id="a"):
            await post(http, "s", model="count", max_tokens=40, tokens_per_second=20)
            await reader.read(5)
        async with running(broker.url, role="worker", id="b"):
            await reader.read_finals()

            async def is_told() -> bool:
                return bool((await spent(http))["calls"])

            await eventually(is_told)
            spend = await spent(http)
    first, second = ends(spend)
    assert (first[1], second[1]) == ("handed_over", "stop")
    assert [call["attempt"] for call in spend["calls"]] == [1, 1]
    assert spend["delivered_tokens"] == spend["generated_tokens"] == 40
