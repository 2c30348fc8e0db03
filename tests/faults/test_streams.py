"""Streams that are deleted under running pods and workers come back by themselves, and nobody is left in silence."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from chatmesh.app import Mesh
from chatmesh.broker import CONSUMER, REQUESTS
from chatmesh.broker.streams import DEAD_LETTERS, PRESENCE, REGISTRY, TRANSCRIPT
from tests.faults.support import (
    ACK_WAIT,
    PATIENCE_SECONDS,
    assert_exact,
    dead_letters,
    read_on,
    wait_queue_empty,
)
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import Reading, events, post
from tests.support.waiting import eventually

COUNT: dict[str, Any] = {"model": "count", "max_tokens": 5}


async def answered(http: httpx.AsyncClient, session_id: str) -> None:
    """A message is accepted, in the end, and answered."""

    async def is_accepted() -> bool:
        return (await post(http, session_id, **COUNT)).status_code == 202

    await eventually(is_accepted, timeout=PATIENCE_SECONDS, message="an accepted message")
    reading = await read_on(http, session_id, Reading(), **{"from": "start"})
    # Its stream may have been opened in the moment before its pod knew of the new transcript: then it came back to another.
    resets = [at for at, event in enumerate(reading.events) if event.event == "reset"]
    assert_exact(Reading(reading.events[resets[-1] + 1 :] if resets else reading.events), 5)


@pytest.mark.parametrize("stream", [REQUESTS, TRANSCRIPT, REGISTRY])
async def test_stream_that_was_deleted_under_us_is_made_anew_when_it_is_needed(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client, stream: str
) -> None:
    await answered(http, "before")
    await nats_client.jetstream(timeout=5).delete_stream(stream)
    await answered(http, "after")
    await wait_queue_empty(nats_client)
    assert await nats_client.jetstream(timeout=5).stream_info(stream)


@pytest.mark.chaos
@pytest.mark.parametrize("stream", [PRESENCE, DEAD_LETTERS])
async def test_stream_that_was_deleted_under_us_is_made_anew_in_time(
    worker: Mesh, nats_client: Client, stream: str
) -> None:
    """Nobody is refused for want of these two for now, so it takes until the next look."""
    js = nats_client.jetstream(timeout=5)
    await js.delete_stream(stream)

    async def is_back() -> bool:
        try:
            await js.stream_info(stream)
        except NotFoundError:
            return False
        return True

    await eventually(is_back, timeout=PATIENCE_SECONDS, message=f"stream {stream}")


async def test_undecodable_request_is_buried_though_the_dead_letters_were_deleted(
    worker: Mesh, nats_client: Client
) -> None:
    js = nats_client.jetstream(timeout=5)
    await js.delete_stream(DEAD_LETTERS)
    await js.publish("chat.workflow.execute.s", b"garbage")
    await wait_queue_empty(nats_client)
    assert [letter.data for letter in await dead_letters(nats_client)] == [b"garbage"]


async def test_consumer_that_was_deleted_under_us_is_made_anew(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    await answered(http, "before")
    await nats_client.jetstream(timeout=5).delete_consumer(REQUESTS, CONSUMER)
    await answered(http, "after")
    await wait_queue_empty(nats_client)


async def test_answer_under_way_goes_on_without_the_registry(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    async with events(http, "s") as stream:
        await post(http, "s", model="count", max_tokens=40, tokens_per_second=50)
        await stream.read(10)
        await nats_client.jetstream(timeout=5).delete_stream(REGISTRY)
        assert_exact(await stream.read_finals(), 40)


@pytest.mark.chaos
async def test_every_pod_with_readers_gets_answers_after_the_registry_was_deleted(
    broker: Broker, http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    """The registry that is made anew must hold the old readers too, not only those who come later."""
    async with (
        running(broker.url, ACK_WAIT, role="pod", id="second") as second,
        client_of(second) as at_second,
        events(http, "s") as early,
    ):
        await post(http, "s", **COUNT)
        await early.read_finals(1)
        await nats_client.jetstream(timeout=5).delete_stream(REGISTRY)
        async with events(at_second, "s") as late:
            await answered(at_second, "other")
            await post(at_second, "s", **COUNT)
            assert_exact(await late.read_finals(1), 5)
            reading = await early.read_finals(2)
    assert reading.ids == 2 * list(range(6))


async def test_position_of_a_transcript_that_is_gone_gets_a_reset_and_what_is_there_now(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    async with events(http, "s") as stream:
        await post(http, "s", **COUNT)
        reading = await stream.read_finals()
    await nats_client.jetstream(timeout=5).delete_stream(TRANSCRIPT)
    await answered(http, "s")
    again = Reading(position=reading.position)
    await read_on(http, "s", again)
    assert [event["reason"] for event in again.named("reset")] == ["position_unknown"]
    assert again.events[0].event == "reset"
    assert again.ids == list(range(6))


async def test_reader_who_was_there_when_the_transcript_was_deleted_sees_what_comes_after(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    reading = Reading()
    async with events(http, "s", reading=reading) as stream:
        await post(http, "s", model="count", max_tokens=300)
        await stream.read_finals()
        await nats_client.jetstream(timeout=5).delete_stream(TRANSCRIPT)
        await answered(http, "other")
        assert (await post(http, "s", **COUNT)).status_code == 202
        await stream.read_finals(2)
    await read_on(http, "s", reading, finals=2)
    assert [event["reason"] for event in reading.named("reset")] == ["position_unknown"]
    assert reading.ids == [*range(301), *range(6)]
