"""Slots that are taken for long: who waits for one here does not wait while another worker has one."""

from __future__ import annotations

from typing import Any

from nats.aio.client import Client

from tests.faults.support import ACK_WAIT, count_text, holder
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import events, post
from tests.support.waiting import eventually

ONE_SLOT = ("worker.concurrency=1", "worker.drain_seconds=0.1", ACK_WAIT)
SILENT: dict[str, Any] = {"model": "count", "max_tokens": 5, "tokens_per_second": 0.01}


async def test_message_that_was_parked_where_every_slot_is_taken_is_answered_by_who_has_one(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        running(broker.url, ACK_WAIT, role="pod", id="pod") as pod,
        client_of(pod) as client,
        events(client, "s") as stream,
        events(client, "other") as others,
        running(broker.url, *ONE_SLOT, role="worker", id="second"),
    ):
        await post(client, "s", message_id="m1", **SILENT)
        await stream.read(1)
        async with running(broker.url, *ONE_SLOT, role="worker", id="first"):
            # Parked at the only worker that has a slot; the next one takes that.
            await post(client, "s", message_id="m2", model="count", max_tokens=3)
            await eventually(lambda: is_leased(nats_client, 2))
            await post(client, "other", message_id="long", **SILENT)
            await others.read(1)
            assert await holder(nats_client, "other") == "first"
            await client.delete("/v1/sessions/s/messages/m1")
            reading = await stream.read_finals(2)
            assert not others.reading.finals
    assert [chunk["message_id"] for chunk in reading.finals] == ["m1", "m2"]
    assert reading.text == "1 " + count_text(3)


async def is_leased(client: Client, count: int) -> bool:
    info = await client.jetstream().consumer_info("WORKFLOW_REQUESTS", "workflow-processor")
    return info.num_ack_pending == count
