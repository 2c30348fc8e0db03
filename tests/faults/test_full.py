"""Streams that are full: said at once and honestly, nothing is lost, and it goes on when there is room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.broker import REQUESTS
from chatmesh.broker.streams import TRANSCRIPT
from chatmesh.telemetry import metrics
from tests.faults.support import assert_exact, claims, wait_queue_empty
from tests.support.mesh import is_ready
from tests.support.reading import events, post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

COUNT: dict[str, Any] = {"model": "count", "max_tokens": 40, "tokens_per_second": 50}


@asynccontextmanager
async def full(client: Client, stream: str) -> AsyncIterator[None]:
    """The stream takes nothing more, until the end of the block."""
    js = client.jetstream(timeout=5)
    config = (await js.stream_info(stream)).config
    room = config.max_bytes
    await js.update_stream(config.evolve(max_bytes=1))
    try:
        yield
    finally:
        await js.update_stream(config.evolve(max_bytes=room))


async def test_full_queue_refuses_at_once_and_takes_messages_again_when_there_is_room(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    async with full(nats_client, REQUESTS):
        refused = await post(http, "s", **COUNT)
    assert refused.status_code == 503
    assert refused.json()["code"] == "storage_full"
    assert refused.headers["Retry-After"]

    async def is_accepted() -> bool:
        return (await post(http, "s", **COUNT)).status_code == 202

    await eventually(lambda: is_ready(http))
    async with events(http, "s") as stream:
        await eventually(is_accepted)
        assert_exact(await stream.read_finals(), 40)


async def test_answer_waits_for_room_in_the_transcript_and_the_model_is_not_asked_again(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    async with events(http, "s") as stream:
        slow = COUNT | {"tokens_per_second": 10}  # so that there is something left to refuse
        message_id = (await post(http, "s", **slow)).json()["message_id"]
        await stream.read(10)
        async with full(nats_client, TRANSCRIPT):
            before = _retries()
            await eventually(lambda: _retries() >= before + 2, message="records that are refused")
        reading = await stream.read_finals()
    assert_exact(reading, 40)
    await wait_queue_empty(nats_client)
    assert len(await claims(nats_client, "s", message_id)) == 1


def _retries() -> float:
    return float(metrics.publish_retries.collect()[0].samples[0].value)
