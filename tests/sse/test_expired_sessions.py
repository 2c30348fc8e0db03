"""A reader who stays for longer than the transcript keeps anything: what is said then counts from 1 again."""

from __future__ import annotations

import httpx
import pytest
from nats.aio.client import Client

from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.reading import Stream, events, events_of_several, post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

SOON = "streams.transcript_max_age_hours=0.002"


async def answer_and_expire(client: Client, http: httpx.AsyncClient, stream: Stream) -> None:
    await post(http, "s", message_id="m1", model="count", max_tokens=20)
    await post(http, "s", message_id="m2", model="count", max_tokens=30, tokens_per_second=100)
    await stream.read_finals(2)

    async def is_gone() -> bool:
        return not await stored.records(client, "s") and not await stored.claims(client, "s")

    await eventually(is_gone, timeout=30)


async def test_reader_who_stayed_hears_what_is_said_after_everything_expired(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1", SOON) as (_, http),
        running(broker.url, SOON, role="worker", id="w"),
        events(http, "s") as stream,
    ):
        await answer_and_expire(nats_client, http, stream)
        await post(http, "s", message_id="m3", model="count", max_tokens=3)
        reading = await stream.read_finals(3)
    assert [chunk["message_id"] for chunk in reading.finals] == ["m1", "m2", "m3"]
    assert [chunk["chunk_id"] for chunk in reading.chunks if chunk["message_id"] == "m3"] == [0, 1, 2, 3]


async def test_reader_who_comes_after_everything_expired_holds_up_no_other_session_of_its_connection(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1", SOON) as (_, http),
        running(broker.url, SOON, role="worker", id="w"),
        events(http, "s") as stream,
    ):
        await answer_and_expire(nats_client, http, stream)
        async with events_of_several(http, "s", "t") as several:
            await post(http, "t", model="count", max_tokens=3)
            reading = await several.read_finals()
    assert reading.ids == [0, 1, 2, 3]


async def test_what_is_said_while_only_the_last_claim_has_expired_is_shown_to_who_stayed_and_to_who_comes(
    broker: Broker, nats_client: Client
) -> None:
    """A claim is older than the records under it, by as long as the answer took."""
    async with (
        pod_and_client(broker.url, "pod-1") as (_, http),
        running(broker.url, role="worker", id="w"),
        events(http, "s") as stream,
    ):
        await post(http, "s", message_id="m1", model="count", max_tokens=30, tokens_per_second=100)
        await stream.read_finals()
        (claim,) = await stored.claims(nats_client, "s")
        await stored.api(nats_client, "STREAM.MSG.DELETE.CHAT_TRANSCRIPT", {"seq": claim.seq})
        await post(http, "s", message_id="m2", model="count", max_tokens=3)
        await stream.read_finals(2)
        query = {"from": "start"}
        async with events(http, "s", **query) as fresh:
            while "m2" not in [chunk["message_id"] for chunk in fresh.reading.finals]:
                await fresh.next()
    for reading in (stream.reading, fresh.reading):
        assert [chunk["chunk_id"] for chunk in reading.chunks if chunk["message_id"] == "m2"] == [0, 1, 2, 3]
