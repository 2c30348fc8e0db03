"""Stop means stop: stored first, from any pod, at a silent provider, and never revived."""

from __future__ import annotations

import asyncio

from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import events, post
from tests.support.waiting import eventually

SILENT = {"model": "count", "max_tokens": 5, "tokens_per_second": 0.01}
"""One token now, the next in a hundred seconds."""


async def test_stop_ends_a_silent_answer_and_keeps_its_partial_text(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client, events(client, "s") as stream:
        await post(client, "s", message_id="m1", **SILENT)
        await stream.read(1)
        answer = await client.delete("/v1/sessions/s/messages/m1")
        assert answer.status_code == 202
        async with asyncio.timeout(10):
            reading = await stream.read_finals()
        assert reading.finals[0]["metadata"]["finish_reason"] == "cancelled"
        assert reading.text == "1 "
        row = (await client.get("/v1/sessions/s/messages/m1")).json()
        assert (row["status"], row["content"], row["finish_reason"]) == ("stopped", "1 ", "cancelled")


async def test_stop_works_from_another_pod_than_the_readers(broker: Broker) -> None:
    async with (
        running(broker.url, id="pod-1") as first,
        running(broker.url, id="pod-2", role="pod") as second,
        client_of(first) as here,
        client_of(second) as there,
        events(here, "s") as stream,
    ):
        await post(here, "s", message_id="m1", **SILENT)
        await stream.read(1)
        assert (await there.delete("/v1/sessions/s/messages/m1")).status_code == 202
        async with asyncio.timeout(10):
            reading = await stream.read_finals()
        assert reading.finals[0]["metadata"]["finish_reason"] == "cancelled"


async def test_stop_of_a_queued_message_ends_it_before_its_turn(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client, events(client, "s") as stream:
        await post(client, "s", message_id="m1", **SILENT)
        await stream.read(1)
        await post(client, "s", message_id="m2", **SILENT)
        await post(client, "s", message_id="m3", model="count", max_tokens=2)
        assert (await client.delete("/v1/sessions/s/messages/m2")).status_code == 202
        async with asyncio.timeout(10):
            reading = await stream.read_finals()
        assert [chunk["message_id"] for chunk in reading.finals] == ["m2"]
        assert (await client.get("/v1/sessions/s/messages/m1")).json()["status"] == "running"
        assert (await client.delete("/v1/sessions/s/messages/m1")).status_code == 202
        async with asyncio.timeout(10):
            reading = await stream.read_finals(3)
        reasons = [(chunk["message_id"], chunk["metadata"]["finish_reason"]) for chunk in reading.finals]
        assert reasons == [("m2", "cancelled"), ("m1", "cancelled"), ("m3", "stop")]
        page = (await client.get("/v1/sessions/s/messages")).json()
        assert {row["status"] for row in page["messages"] if row["message_id"] == "m2"} == {"stopped"}


async def test_a_stop_that_no_worker_heard_is_found_by_the_turn(broker: Broker) -> None:
    async with running(broker.url, id="pod-1", role="pod") as pod, client_of(pod) as client:
        await post(client, "s", message_id="m1", **SILENT)
        assert (await client.delete("/v1/sessions/s/messages/m1")).status_code == 202
        assert (await client.delete("/v1/sessions/s/messages/m1")).status_code == 202
        async with (
            running(broker.url, id="w-1", role="worker"),
            events(client, "s", message_id="m1") as stream,
        ):
            async with asyncio.timeout(10):
                reading = await stream.read_all()
        assert [chunk["metadata"]["finish_reason"] for chunk in reading.finals] == ["cancelled"]
        assert reading.text == ""


async def test_stop_after_the_end_tells_the_state_and_an_unknown_message_is_404(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        async with events(client, "s") as stream:
            await post(client, "s", message_id="m1", model="count", max_tokens=2)
            await stream.read_finals()
        answer = await client.delete("/v1/sessions/s/messages/m1")
        assert (answer.status_code, answer.json()["status"]) == (200, "done")
        missing = await client.delete("/v1/sessions/s/messages/m9")
        assert (missing.status_code, missing.json()["code"]) == (404, "unknown_message")


async def test_interrupt_stops_what_is_older_and_answers_the_new_message(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client, events(client, "s") as stream:
        await post(client, "s", message_id="m1", **SILENT)
        await post(client, "s", message_id="m2", **SILENT)
        await stream.read(1)
        await post(client, "s", message_id="m3", model="count", max_tokens=2, on_busy="interrupt")
        async with asyncio.timeout(10):
            reading = await stream.read_finals(3)
        reasons = {chunk["message_id"]: chunk["metadata"]["finish_reason"] for chunk in reading.finals}
        assert reasons == {"m1": "cancelled", "m2": "cancelled", "m3": "stop"}


async def test_reject_refuses_a_second_message_and_takes_it_after_the_answer(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client, events(client, "s") as stream:
        await post(client, "s", message_id="m1", **SILENT)
        await stream.read(1)
        busy = await post(client, "s", message_id="m2", model="count", on_busy="reject")
        assert (busy.status_code, busy.json()["code"]) == (422, "session_busy")
        await client.delete("/v1/sessions/s/messages/m1")
        await stream.read_finals()

        async def is_taken() -> bool:
            answer = await post(client, "s", message_id="m2", model="count", max_tokens=1, on_busy="reject")
            return answer.status_code == 202

        await eventually(is_taken)
