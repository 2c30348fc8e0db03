"""An SDK sends again what it got no answer to: the same response, on any pod, and nothing else is taken for it."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from nats.aio.client import Client

from tests.faults.support import count_text
from tests.openai.support import rows, sdk, wait_answering
from tests.openai.test_retries import address, assert_one, proxy_to
from tests.openai.test_sdk import url_of
from tests.support.broker import Broker
from tests.support.mesh import client_of, pod_and_client, running

PATH = "/v1/responses"
AGAIN = {"x-stainless-retry-count": "1"}
ASKED = {"model": "count", "input": "x", "max_output_tokens": 20}
SLOW = "demo.tokens_per_second=10"


async def response_of(pod: httpx.AsyncClient, **headers: str) -> str:
    """Its id."""
    answer = await pod.post(PATH, json=ASKED, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def test_sdk_whose_connection_is_cut_in_mid_answer_asks_again_and_gets_the_same_response(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        running(broker.url, SLOW) as mesh,
        client_of(mesh) as http,
        proxy_to(mesh) as proxy,
        sdk(address(proxy)) as client,
    ):
        asked = asyncio.create_task(client.responses.create(**ASKED, extra_headers={"X-Session-Id": "s"}))  # type: ignore[call-overload]
        await wait_answering(http, "s")
        proxy.cut()
        assert (await asked).output_text == count_text(20)
        await assert_one(nats_client, http)


async def test_sdk_whose_pod_leaves_gets_the_same_response_from_another_one(
    broker: Broker, nats_client: Client
) -> None:
    async with pod_and_client(broker.url, "stays", SLOW, role="all") as (stays, http):
        async with (
            running(broker.url, role="pod", id="leaves") as leaves,
            proxy_to(leaves) as balancer,
            sdk(address(balancer)) as client,
        ):
            asked = asyncio.create_task(
                client.responses.create(**ASKED, extra_headers={"X-Session-Id": "s"})  # type: ignore[call-overload]
            )
            await wait_answering(http, "s")
            balancer.target_port = httpx.URL(url_of(stays)).port or 0
            leaves.tree.drain()
            assert (await asked).output_text == count_text(20)
        await assert_one(nats_client, http)


@pytest.mark.parametrize("body", [{}, {"stream": True}], ids=["whole", "stream"])
async def test_retry_is_recognised_at_another_pod_and_in_a_session_that_nobody_named(
    broker: Broker, body: dict[str, bool]
) -> None:
    async with (
        pod_and_client(broker.url, "one", role="all") as (_, one),
        pod_and_client(broker.url, "two") as (_, two),
    ):
        first = await one.post(PATH, json=ASKED | body)
        for count, pod in (("1", two), ("2", one)):
            again = await pod.post(PATH, json=ASKED | body, headers={"x-stainless-retry-count": count})
            assert again.text == first.text
            assert again.headers["x-message-id"] == first.headers["x-message-id"]
        assert len(await rows(two, first.headers["x-session-id"])) == 2


async def test_retry_of_what_never_arrived_is_a_new_response_and_its_own_retry_the_same(
    broker: Broker,
) -> None:
    async with pod_and_client(broker.url, "one", role="all") as (_, http):
        first = await response_of(http, **AGAIN)
        assert await response_of(http, **{"x-stainless-retry-count": "2"}) == first


async def test_same_request_without_a_count_of_somebody_else_or_elsewhere_is_another_response(
    broker: Broker,
) -> None:
    async with pod_and_client(broker.url, "one", role="all") as (_, http):
        ids = {
            await response_of(http, Authorization="Bearer ann"),
            await response_of(http, Authorization="Bearer ann"),
            await response_of(http, Authorization="Bearer ben", **AGAIN),
            await response_of(http, Authorization="Bearer ann", **AGAIN, **{"X-Session-Id": "named"}),
        }
        assert len(ids) == 4
        # A body that both doors would take.
        both = ASKED | {"messages": [{"role": "user", "content": "x"}]}
        told = await http.post(PATH, json=both)
        chat = await http.post("/v1/chat/completions", json=both, headers=AGAIN)
        assert chat.headers["x-message-id"] != told.headers["x-message-id"]
