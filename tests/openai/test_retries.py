"""An SDK sends again what it got no answer to: the same message, on any pod, and nothing else is taken for it."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from tests.faults.support import claims, count_text
from tests.openai.support import rows, said, sdk, text_of, wait_answering
from tests.openai.test_sdk import url_of
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import client_of, pod_and_client, running
from tests.support.proxy import FaultProxy
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

PATH = "/v1/chat/completions"
SESSION = {"X-Session-Id": "s"}
COUNT: dict[str, Any] = {"model": "count", "messages": said("x"), "max_tokens": 20}
SLOW = {"tokens_per_second": 5}
"""Four seconds of an answer: what happens in its middle happens before its end also on a busy machine."""


def proxy_to(mesh: Mesh) -> FaultProxy:
    port = urlsplit(url_of(mesh)).port
    assert port is not None
    return FaultProxy(port)


def address(proxy: FaultProxy) -> str:
    return f"http://127.0.0.1:{proxy.port}"


async def assert_one(client: Client, http: httpx.AsyncClient) -> None:
    """One message in the session, and the model was asked once."""
    assert len(await rows(http, "s")) == 2
    assert len(await stored.claims(client, "s")) == 1


async def test_sdk_whose_connection_is_cut_in_mid_answer_asks_again_and_gets_the_same_whole_answer(
    broker: Broker, nats_client: Client
) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http, proxy_to(mesh) as proxy:
        async with sdk(address(proxy)) as client:
            asked = asyncio.create_task(
                client.chat.completions.create(**COUNT, extra_body=SLOW, extra_headers=SESSION)
            )
            await wait_answering(http, "s")
            proxy.cut()
            answer = await asked
        assert answer.choices[0].message.content == count_text(20)
        await assert_one(nats_client, http)


async def test_sdk_that_is_cut_before_its_stream_begins_asks_again_and_gets_the_same_stream(
    broker: Broker, nats_client: Client
) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http, proxy_to(mesh) as proxy:
        async with sdk(address(proxy)) as client:
            proxy.latency_seconds = 3.0  # so long the beginning of the answer is on its way
            asked = asyncio.create_task(
                client.chat.completions.create(**COUNT, stream=True, extra_body=SLOW, extra_headers=SESSION)
            )
            await wait_answering(http, "s")
            proxy.cut()
            proxy.latency_seconds = 0.0
            assert await text_of(await asked) == count_text(20)
        await assert_one(nats_client, http)


async def test_retry_is_recognised_at_another_pod_and_in_a_session_that_nobody_named(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "one", role="all") as (_, one),
        pod_and_client(broker.url, "two") as (_, two),
    ):
        first = await one.post(PATH, json=COUNT)
        for count, pod in (("1", two), ("2", one)):
            again = await pod.post(PATH, json=COUNT, headers={"x-stainless-retry-count": count})
            for name in ("x-session-id", "x-message-id"):
                assert again.headers[name] == first.headers[name]
            assert again.json()["choices"] == first.json()["choices"]
    session_id, message_id = first.headers["x-session-id"], first.headers["x-message-id"]
    assert len(await claims(nats_client, session_id, message_id)) == 1


async def test_retry_of_what_never_arrived_is_a_new_message_and_its_own_retry_the_same(
    broker: Broker,
) -> None:
    async with pod_and_client(broker.url, "one", role="all") as (_, http):
        ids = [
            (await http.post(PATH, json=COUNT, headers=SESSION | {"x-stainless-retry-count": count})).headers[
                "x-message-id"
            ]
            for count in ("1", "2")
        ]
        assert len(set(ids)) == 1
        assert len(await rows(http, "s")) == 2


async def test_same_request_without_a_retry_count_is_another_message(broker: Broker) -> None:
    async with pod_and_client(broker.url, "one", role="all") as (_, http):
        for headers in ({}, {"x-stainless-retry-count": "0"}):
            assert (await http.post(PATH, json=COUNT, headers=SESSION | headers)).status_code == 200
        assert len(await rows(http, "s")) == 4


async def test_retry_of_somebody_else_with_the_same_words_is_another_message(broker: Broker) -> None:
    again = {"x-stainless-retry-count": "1"}
    async with pod_and_client(broker.url, "one", role="all") as (_, http):
        first = await http.post(PATH, json=COUNT, headers={"Authorization": "Bearer ann"})
        others = [
            again | {"Authorization": "Bearer ben"},
            again | {"Authorization": "Bearer ann", "X-OpenWebUI-User-Id": "cem"},
            again | {"Authorization": "Bearer ann", "X-Session-Id": "named"},
        ]
        ids = {(await http.post(PATH, json=COUNT, headers=other)).headers["x-message-id"] for other in others}
    assert len(ids | {first.headers["x-message-id"]}) == 4


async def test_what_is_kept_of_a_request_deletes_itself_and_is_no_news_to_workers(
    broker: Broker, nats_client: Client, logs: list[dict[str, object]]
) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http:
        answer = await http.post(PATH, json=COUNT)
        (kept,) = await stored.stored(nats_client, "CHAT_REGISTRY", "chat.registry.~retry.*")
    assert kept.headers["Nats-TTL"] == "60s"
    assert kept.body == {
        "session_id": answer.headers["x-session-id"],
        "message_id": answer.headers["x-message-id"],
    }
    assert not [line for line in logs if line["event"] == "relay.undecodable"]


async def test_message_is_answered_all_the_same_where_nothing_can_be_kept_of_its_request(
    broker: Broker, nats_client: Client, logs: list[dict[str, object]]
) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http:
        await stored.update_stream(nats_client, "CHAT_REGISTRY", max_bytes=1)
        assert (await http.post(PATH, json=COUNT)).status_code == 200
    assert [line for line in logs if line["event"] == "broker.retry_not_noted"]


async def test_sdk_that_meets_a_pod_without_a_broker_asks_again_until_it_is_back(broker: Broker) -> None:
    async with (
        running(broker.url) as mesh,
        client_of(mesh) as http,
        sdk(url_of(mesh), max_retries=10) as client,
    ):
        broker.kill()
        await eventually(lambda: not mesh.is_ready)
        asked = asyncio.create_task(client.chat.completions.create(**COUNT, extra_headers=SESSION))
        refused = await http.post(PATH, json=COUNT)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "broker_away")
        await broker.restart()
        answer = await asked
        assert answer.choices[0].message.content == count_text(20)
        assert len(await rows(http, "s")) == 2


async def test_stream_that_is_cut_in_the_middle_is_an_error_and_never_an_end(broker: Broker) -> None:
    async with (
        running(broker.url) as mesh,
        client_of(mesh) as http,
        proxy_to(mesh) as proxy,
        sdk(address(proxy)) as client,
    ):
        stream = await client.chat.completions.create(
            **COUNT, stream=True, extra_body=SLOW, extra_headers=SESSION
        )
        await wait_answering(http, "s")
        proxy.cut()
        with pytest.raises(openai.APIConnectionError):
            await text_of(stream)
