"""Stop means stop: stored first, from any pod, at a silent provider, and never revived."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from chatmesh.app import Mesh
from chatmesh.protocol.tokens import Token
from chatmesh.workflow import StopSweep
from chatmesh.workflow.claims import Claims
from chatmesh.workflow.stops import KEPT_SECONDS, MAX_KEPT, RecentStops
from tests.support import models
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


async def test_a_queued_message_that_is_stopped_by_several_at_once_ends_once(broker: Broker) -> None:
    """Its stop is stored once, but heard as often as it was sent."""
    async with running(broker.url) as mesh, client_of(mesh) as client, events(client, "s") as stream:
        await post(client, "s", message_id="m1", **SILENT)
        await stream.read(1)
        await post(client, "s", message_id="m2", **SILENT)
        await asyncio.gather(*(client.delete("/v1/sessions/s/messages/m2") for _ in range(20)))
        await stream.read_finals()
        await client.delete("/v1/sessions/s/messages/m1")
        await post(client, "s", message_id="m3", model="count", max_tokens=2)
        while "m3" not in [chunk["message_id"] for chunk in stream.reading.finals]:
            await stream.read_finals(len(stream.reading.finals) + 1)
    reasons = [(chunk["message_id"], chunk["metadata"]["finish_reason"]) for chunk in stream.reading.finals]
    assert reasons == [("m2", "cancelled"), ("m1", "cancelled"), ("m3", "stop")]


async def test_an_answer_that_has_its_end_while_its_model_still_closes_gets_no_other_one(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "told", told := asyncio.Event())
    setting = models.models("slow_to_close")
    async with running(broker.url, setting) as mesh, client_of(mesh) as client, events(client, "s") as stream:
        await post(client, "s", message_id="m1", model="slow_to_close")
        await stream.read_finals()
        await post(client, "s", message_id="m2", model="echo", on_busy="interrupt")
        told.set()
        while "m2" not in [chunk["message_id"] for chunk in stream.reading.finals]:
            await stream.read_finals(len(stream.reading.finals) + 1)
    reasons = [(chunk["message_id"], chunk["metadata"]["finish_reason"]) for chunk in stream.reading.finals]
    assert reasons == [("m1", "stop"), ("m2", "stop")]


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


async def stop_at_the_claim(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, *, looks: bool) -> list[str]:
    """Finish reasons of an answer whose stop is stored as its turn claims. `looks`: the answer is looked at once it has
    begun; else a look fails the test."""
    began = Claims.begin

    async def begin(self: Claims, *args: Any) -> Any:
        assert (await client.delete("/v1/sessions/s/messages/m1")).status_code == 202
        return await began(self, *args)

    async def look(*_: object) -> None:
        raise AssertionError("nothing is in doubt")

    monkeypatch.setattr(Claims, "begin", begin)
    if not looks:
        monkeypatch.setattr(StopSweep, "look_soon", look)
    async with client_of(mesh) as client, events(client, "s") as stream:
        await post(client, "s", message_id="m1", **SILENT)
        async with asyncio.timeout(10):
            reading = await stream.read_finals()
        return [chunk["metadata"]["finish_reason"] for chunk in reading.finals]


async def test_a_stop_between_the_turns_reads_and_its_answer_is_remembered(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(broker.url) as mesh:
        assert await stop_at_the_claim(mesh, monkeypatch, looks=False) == ["cancelled"]


async def test_a_stop_that_may_not_have_been_heard_is_looked_for(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RecentStops, "note", lambda *_: None)
    monkeypatch.setattr(RecentStops, "is_certain", False)
    async with running(broker.url) as mesh:
        assert await stop_at_the_claim(mesh, monkeypatch, looks=True) == ["cancelled"]


@pytest.mark.parametrize("is_heard", [True, False])
async def test_a_stop_of_what_is_claimed_before_it_was_looked_for_is_remembered_or_found(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, is_heard: bool
) -> None:
    monkeypatch.setattr(StopSweep, "would_know", lambda *_: True)
    if not is_heard:
        monkeypatch.setattr(RecentStops, "note", lambda *_: None)
    async with running(broker.url) as mesh:
        assert await stop_at_the_claim(mesh, monkeypatch, looks=not is_heard) == ["cancelled"]


async def test_a_stop_of_before_the_session_was_erased_does_not_end_what_has_its_id_now(
    broker: Broker,
) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        async with events(client, "s") as stream:
            await post(client, "s", message_id="m1", **SILENT)
            await stream.read(1)
            assert (await client.delete("/v1/sessions/s/messages/m1")).status_code == 202
            async with asyncio.timeout(10):
                await stream.read_finals()
        assert (await client.delete("/v1/sessions/s")).status_code == 202
        await eventually(lambda: is_gone(client))
        async with events(client, "s") as stream:
            await post(client, "s", message_id="m1", **SILENT)
            await stream.read(1)
            assert (await client.delete("/v1/sessions/s/messages/m1")).status_code == 202
            async with asyncio.timeout(10):
                reading = await stream.read_finals()
        assert (reading.text, reading.finals[0]["metadata"]["finish_reason"]) == ("1 ", "cancelled")
        state = await mesh.broker.transcript.state(Token("s"), Token("m1"), seconds=5)
        assert state.is_stopped, "stored, though JetStream remembers the id of the first one"


async def is_gone(client: httpx.AsyncClient) -> bool:
    return (await client.get("/v1/sessions/s/messages")).status_code == 404


def test_what_was_missed_makes_doubtful_what_begins_in_the_next_half_minute() -> None:
    now = [100.0]
    stops = RecentStops(clock=lambda: now[0])
    session, message = Token("s"), Token("m")
    assert not stops.is_certain, "nobody listens yet"
    assert stops.heard_seconds < 0
    stops.doubt()
    stops.listens()
    assert stops.is_certain
    stops.note(session, message)
    assert stops.knows(session, message)
    assert stops.heard_seconds == 0
    for missed in (stops.doubt, stops.listens):
        now[0] += 1
        assert stops.heard_seconds >= 1
        missed()
        assert stops.heard_seconds == 0
        assert not stops.is_certain
        now[0] += KEPT_SECONDS
        assert stops.is_certain
    stops.note(session, Token("later"))
    assert not stops.knows(session, message)
    for number in range(MAX_KEPT):
        stops.note(session, Token(f"m{number}"))
    assert not stops.is_certain, "more than can be remembered"


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
