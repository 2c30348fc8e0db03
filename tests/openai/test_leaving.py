"""Clients, pods and workers leave in mid-answer: nothing is stopped that somebody waits for, and no half passes for a whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from contextlib import suppress

import httpx
import pytest
from nats.aio.client import Client
from openai import AsyncOpenAI

from tests.faults.support import ACK_WAIT, StartPod, StartWorker, count_text, holder
from tests.openai.support import rows, said, sdk, text_of, wait_answering
from tests.openai.test_retries import COUNT, PATH, SESSION, SLOW, address, assert_one, proxy_to
from tests.openai.test_sdk import url_of
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import client_of, pod_and_client, running
from tests.support.models import gate, models, text
from tests.support.proxy import FaultProxy
from tests.support.reading import post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

CANCELS = "openai.cancel_on_disconnect=true"
BODY = COUNT | SLOW

modes = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


async def leave_in_mid_answer(http: httpx.AsyncClient, *, stream: bool) -> None:
    """One asks, sees that it is being answered, and goes."""
    await leave(http, wait_answering(http, "s"), stream=stream)


async def leave(http: httpx.AsyncClient, happens: Awaitable[object], *, stream: bool) -> None:
    async with httpx.AsyncClient(base_url=http.base_url) as leaving:
        asked = asyncio.create_task(leaving.post(PATH, json=BODY | {"stream": stream}, headers=SESSION))
        await happens
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked


async def wait_status(http: httpx.AsyncClient, status: str) -> str:
    """Until the session's last message has it; returns its text."""

    async def has_it() -> bool:
        return bool((await rows(http, "s"))[-1]["status"] == status)

    await eventually(has_it, timeout=20, message=f"status {status}")
    return str((await rows(http, "s"))[-1]["content"])


@modes
async def test_client_that_leaves_does_not_stop_its_answer(broker: Broker, stream: bool) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http:
        await leave_in_mid_answer(http, stream=stream)
        assert await wait_status(http, "done") == count_text(20)


@modes
async def test_client_that_leaves_stops_its_answer_where_the_configuration_says_so(
    broker: Broker, stream: bool
) -> None:
    async with running(broker.url, CANCELS) as mesh, client_of(mesh) as http:
        await leave_in_mid_answer(http, stream=stream)
        assert count_text(20).startswith(await wait_status(http, "stopped"))


@modes
async def test_client_that_leaves_stops_its_answer_while_it_waits_for_its_turn_too(
    broker: Broker, stream: bool
) -> None:
    go_on = gate()
    async with running(broker.url, CANCELS, models("held")) as mesh, client_of(mesh) as http:
        await post(http, "s", model="held")
        await wait_answering(http, "s")
        await leave(http, wait_status(http, "queued"), stream=stream)
        assert await wait_status(http, "stopped") == ""
        before = (await rows(http, "s"))[1]
        assert before["status"] == "running"
        go_on.set()


async def test_one_who_comes_again_after_his_answer_was_stopped_gets_a_whole_one(broker: Broker) -> None:
    async with running(broker.url, CANCELS) as mesh, client_of(mesh) as http, proxy_to(mesh) as proxy:
        async with sdk(address(proxy)) as client:
            asked = asyncio.create_task(
                client.chat.completions.create(**COUNT, extra_body=SLOW, extra_headers=SESSION)
            )
            await wait_answering(http, "s")
            proxy.cut()
            assert (await asked).choices[0].message.content == count_text(20)
        statuses = [row["status"] for row in await rows(http, "s") if row["role"] == "assistant"]
        assert statuses == ["stopped", "done"]


async def test_what_cant_be_taken_back_cuts_the_stream_and_stops_nothing(broker: Broker) -> None:
    body = {"model": "beginning_anew", "messages": said("x"), "stream": True}
    async with running(broker.url, CANCELS, models("beginning_anew")) as mesh, client_of(mesh) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post(PATH, json=body, headers=SESSION)
        assert await wait_status(http, "done") == text(attempt=2)
        whole = await http.post(PATH, json=body | {"stream": False}, headers=SESSION)
        assert whole.json()["choices"][0]["message"]["content"] == text(attempt=2)


@modes
async def test_pod_that_leaves_in_mid_answer_cuts_and_stops_nothing_and_the_retry_is_answered_elsewhere(
    broker: Broker, nats_client: Client, stream: bool
) -> None:
    async with pod_and_client(broker.url, "stays", CANCELS, role="all") as (_, http):
        async with running(broker.url, CANCELS, role="pod", id="leaves") as leaving:
            url = url_of(leaving)
            async with httpx.AsyncClient(base_url=url) as client:
                body = BODY | {"stream": stream}
                asked = asyncio.create_task(client.post(PATH, json=body, headers=SESSION))
                await wait_answering(http, "s")
                leaving.tree.drain()
                with pytest.raises(httpx.RemoteProtocolError):
                    await asked
        again = await http.post(PATH, json=body, headers=SESSION | {"x-stainless-retry-count": "1"})
        assert again.status_code == 200
        assert await wait_status(http, "done") == count_text(20)
        if not stream:
            assert again.json()["choices"][0]["message"]["content"] == count_text(20)
        await assert_one(nats_client, http)


async def test_pod_that_leaves_in_mid_answer_resets_whoever_takes_the_connections_end_for_the_answers(
    broker: Broker,
) -> None:
    """HTTP/1.0, as proxies speak that were told nothing else: a body without a length ends with its connection."""
    asked = json.dumps(BODY | {"stream": True}).encode()
    head = f"POST {PATH} HTTP/1.0\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(asked)}\r\n\r\n"
    async with running(broker.url) as leaving:
        url = httpx.URL(url_of(leaving))
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(head.encode() + asked)
        assert b'"content":"1 "' in await reader.readuntil(b'"content":"1 "')
        leaving.tree.drain()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_killed_pod_is_only_a_pause_for_the_sdk(
    broker: Broker, nats_client: Client, new_pod: StartPod
) -> None:
    dying = await new_pod("dying")
    async with (
        running(broker.url, ACK_WAIT, id="stays") as mesh,
        client_of(mesh) as http,
        FaultProxy(httpx.URL(dying.url).port or 0) as balancer,
        sdk(address(balancer)) as client,
    ):
        asked = asyncio.create_task(
            client.chat.completions.create(**COUNT, extra_body=SLOW, extra_headers=SESSION)
        )
        await wait_answering(http, "s")
        balancer.target_port = httpx.URL(url_of(mesh)).port or 0
        dying.process.kill()
        assert (await asked).choices[0].message.content == count_text(20)
        await assert_one(nats_client, http)


@modes
async def test_killed_worker_is_only_a_pause_for_the_sdk(
    broker: Broker, nats_client: Client, new_worker: StartWorker, stream: bool
) -> None:
    workers = {id: await new_worker(id) for id in ("w1", "w2")}
    async with (
        running(broker.url, ACK_WAIT, role="pod", id="pod") as mesh,
        client_of(mesh) as http,
        sdk(url_of(mesh), max_retries=0) as client,
    ):
        asked = asyncio.create_task(_answer(client, stream=stream))
        await wait_answering(http, "s")
        workers[await holder(nats_client, "s")].kill()
        assert await asked == count_text(20)
        assert len(await rows(http, "s")) == 2
        assert len(await stored.claims(nats_client, "s")) == 2


async def _answer(client: AsyncOpenAI, *, stream: bool) -> str:
    asking = {**COUNT, "extra_body": SLOW, "extra_headers": SESSION}
    if stream:
        return await text_of(await client.chat.completions.create(**asking, stream=True))
    answer = await client.chat.completions.create(**asking)
    return str(answer.choices[0].message.content)
