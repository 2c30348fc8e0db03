"""What a stream does in states that pass: never an error, a browser's EventSource would give up for good."""

from __future__ import annotations

import re

import httpx
import pytest
from nats.aio.client import Client

from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import is_ready, pod_and_client, running
from tests.support.reading import events, post
from tests.support.waiting import eventually

COME_BACK = re.compile(r"retry: \d+\n\n")


async def whole(client: httpx.AsyncClient, path: str) -> tuple[int, str]:
    """Status and everything of a stream that ends by itself."""
    answer = await client.get(path)
    return answer.status_code, answer.text


async def test_keep_alives_are_comments_without_a_position(broker: Broker) -> None:
    async with (
        pod_and_client(broker.url, "x", "sse.keepalive_seconds=0.2") as (_, client),
        client.stream("GET", "/v1/sessions/s/events") as response,
    ):
        text = ""
        async for part in response.aiter_text():
            text += part
            if text.count("\n\n") > 3:
                break
    opening, *rest, _ = text.split("\n\n")
    assert opening.startswith(": open\nid: ")
    assert rest
    assert all(re.fullmatch(r":[^\n]*", block) for block in rest), rest


async def test_past_max_connections_a_stream_is_200_retry_and_an_end(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", "sse.max_connections=2", role="all") as (_, client):
        async with events(client, "a"), events(client, "b"):
            status, text = await whole(client, "/v1/sessions/c/events")
        assert status == 200
        assert COME_BACK.fullmatch(text)

        async def is_served() -> bool:
            async with client.stream("GET", "/v1/sessions/c/events") as response:
                return ": open" in await anext(response.aiter_text())

        await eventually(is_served)


async def test_while_the_broker_is_away_a_stream_is_200_retry_and_an_end(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        broker.kill()
        await eventually(lambda: _is_away(client))
        for query in ("", "?from=start", "?message_id=m", "?last_event_id=nonsense"):
            status, text = await whole(client, f"/v1/sessions/s/events{query}")
            assert status == 200
            assert COME_BACK.fullmatch(text), text
        status, _ = await whole(client, "/v1/sessions/a.b/events")
        assert status == 422, "an id that is none stays none"
        await broker.launch()
        await eventually(lambda: is_ready(client))
        async with events(client, "s") as stream:
            await post(client, "s", model="count", max_tokens=5)
            assert (await stream.read_finals()).ids == list(range(6))


async def test_open_stream_lives_through_a_broker_that_is_away(broker: Broker) -> None:
    async with (
        pod_and_client(broker.url, "x", "sse.keepalive_seconds=0.1", role="all") as (_, client),
        events(client, "s") as stream,
    ):
        broker.kill()
        await eventually(lambda: _is_away(client))
        await broker.launch()
        await eventually(lambda: is_ready(client))
        await post(client, "s", model="count", max_tokens=5)
        assert (await stream.read_finals()).ids == list(range(6))


@pytest.mark.parametrize("is_answering", [False, True])
async def test_draining_pod_says_drain_and_ends_and_its_reader_goes_on_elsewhere(
    broker: Broker, nats_client: Client, is_answering: bool
) -> None:
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-2") as (_, two),
    ):
        async with pod_and_client(broker.url, "pod-1") as (leaving, one), events(one, "s") as stream:
            if is_answering:
                await post(two, "s", model="count", max_tokens=100, tokens_per_second=200)
                await stream.read(10)
            leaving.tree.drain()
            reading = await stream.read_all()
            assert reading.events[-1].event == "drain"
            assert reading.named("drain") == [{"reason": "leaving"}]
            assert len({event.id for event in reading.events[-2:]}) == 1, "it moves no position"
        if not is_answering:
            await post(two, "s", model="count", max_tokens=100)
        async with events(two, "s", reading=reading) as rest:
            await rest.read_finals()
        assert reading.chunks == await stored.chunks(nats_client, "s")
    assert reading.ids == list(range(101))


async def _is_away(client: httpx.AsyncClient) -> bool:
    return not await is_ready(client)
