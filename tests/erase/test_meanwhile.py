"""An erasure that comes while somebody opens a stream, falls behind, comes back, or sends its next message."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.broker import RequestQueue
from chatmesh.errors import BrokerUnreachableError
from chatmesh.hub import Follower
from chatmesh.hub.erased import Erased
from chatmesh.hub.following import Following
from chatmesh.hub.reader import Reader
from chatmesh.hub.starts import Starts
from chatmesh.workflow import StopListener
from chatmesh.workflow.claims import Claims
from chatmesh.workflow.erasing import Eraser
from tests.erase.test_waiting_readers import SILENT, queued, reading_of
from tests.support.broker import Broker
from tests.support.mesh import client_of, pod_and_client, running
from tests.support.reading import Reading, Stream, events, post
from tests.support.stored import records
from tests.support.waiting import eventually

PATIENCE_SECONDS = 30


class Held:
    """A place in the program where whoever comes waits, until the test says that it may go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def wait(self) -> None:
        self.reached.set()
        await self.goes_on.wait()

    async def is_reached(self) -> None:
        await asyncio.wait_for(self.reached.wait(), PATIENCE_SECONDS)


async def erase(client: httpx.AsyncClient) -> None:
    assert (await client.delete("/v1/sessions/s")).status_code == 202


async def begin(client: httpx.AsyncClient, message_id: str) -> Reading:
    """An answer that has begun and does not end by itself; what a reader of that message has seen of it."""
    async with events(client, "s", message_id=message_id) as stream:
        assert (await post(client, "s", message_id=message_id, **SILENT)).status_code == 202
        return await stream.read(1)


def ended(reading: Reading) -> bool:
    return bool(reading.finals) and reading.finals[-1]["metadata"]["finish_reason"] == "cancelled"


async def is_erased(client: Client) -> bool:
    """Whether a worker has carried it out."""
    told = any(b'"resets_all":true' in record.data for record in await records(client, "s"))
    return told and not await queued(client)


async def test_reader_of_a_message_that_is_accepted_behind_the_erasure_gets_its_answer(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came before the erasure, so that it hears of it while its message waits."""
    held, carry_out = Held(), Eraser.erase

    async def late(self: Eraser, *request: Any) -> bool:
        await held.wait()
        return await carry_out(self, *request)

    monkeypatch.setattr(Eraser, "erase", late)
    async with running(broker.url) as mesh, client_of(mesh) as client:
        async with events(client, "s") as stream:
            assert (await post(client, "s", message_id="m0", model="echo")).status_code == 202
            await stream.read_finals()
        async with events(client, "s", message_id="m1") as stream:
            await erase(client)
            assert (await post(client, "s", "new", message_id="m1", model="echo")).status_code == 202
            held.goes_on.set()
            reading = await stream.read_all()
    assert (reading.text, reading.finals[0]["metadata"]["finish_reason"]) == ("new", "stop")


async def test_the_same_where_the_pod_that_erases_dies_before_it_has_marked_the_session(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = RequestQueue.submit_erase

    async def submit_and_die(self: RequestQueue, *args: Any, **more: Any) -> None:
        await submit(self, *args, **more)
        raise BrokerUnreachableError("gone", where="here")

    monkeypatch.setattr(RequestQueue, "submit_erase", submit_and_die)
    async with running(broker.url) as mesh, client_of(mesh) as client:
        await begin(client, "m0")
        assert (await client.delete("/v1/sessions/s")).status_code == 503
        assert (await post(client, "s", "new", message_id="m1", model="echo")).status_code == 202
        async with events(client, "s", message_id="m1") as stream:
            assert (await client.delete("/v1/sessions/s/messages/m0")).status_code == 202
            reading = await stream.read_all()
    assert (reading.text, reading.finals[0]["metadata"]["finish_reason"]) == ("new", "stop")


@pytest.mark.parametrize("is_used_again", [False, True])
async def test_reader_who_is_behind_is_ended_and_sees_nothing_of_who_uses_its_id_again(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch, is_used_again: bool
) -> None:
    held, slow = Held(), list[Reader]()
    push, wait_room = Reader.push, Follower._wait_room

    def push_until_full(self: Reader, record: Any, payload: bytes) -> None:
        push(self, record, payload)
        if not slow and self.message_id == record.message_id == "m1":
            slow.append(self)
            self.step_back()

    async def wait(self: Follower, reader: Reader) -> None:
        if reader in slow:
            await held.wait()
        await wait_room(self, reader)

    monkeypatch.setattr(Reader, "push", push_until_full)
    monkeypatch.setattr(Follower, "_wait_room", wait)
    async with (
        running(broker.url) as mesh,
        client_of(mesh) as client,
        events(client, "s", message_id="m1") as stream,
    ):
        assert (await post(client, "s", message_id="m1", **SILENT)).status_code == 202
        await stream.read(1)
        await held.is_reached()
        await erase(client)
        if is_used_again:
            assert (await reading_of(client, "new")).text == "new"
        else:
            await eventually(lambda: is_erased(nats_client))
        held.goes_on.set()
        reading = await stream.read_all()
    assert [body["reason"] for body in reading.named("reset")] == ["session_erased"]
    assert ended(reading)
    assert "new" not in reading.text


async def test_reader_who_comes_back_behind_the_erasure_is_ended(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        before = await begin(client, "m1")
        await erase(client)
        async with events(client, "s", message_id="m1", reading=before) as stream:
            reading = await stream.read_all()
    assert reading.named("reset")
    assert ended(reading)


@pytest.mark.parametrize("has_begun", [False, True])
async def test_reader_for_whom_the_erasure_comes_between_its_start_and_its_place_in_the_registry_is_ended(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch, has_begun: bool
) -> None:
    held, advance = Held(), Follower.advance

    async def late(self: Follower, following: Following) -> None:
        if following.reader.message_id == "m1" and not held.goes_on.is_set():
            await held.wait()
        await advance(self, following)

    async with (
        pod_and_client(broker.url, "here", role="pod") as (_, here),
        pod_and_client(broker.url, "there", role="pod") as (_, there),
    ):
        worker = running(broker.url, role="worker", id="w")
        if has_begun:
            async with worker:
                await begin(there, "m1")
                await _erase_while_it_opens(here, there, nats_client, monkeypatch, held, late)
        else:
            assert (await post(there, "s", message_id="m1", model="echo")).status_code == 202
            await _erase_while_it_opens(here, there, nats_client, monkeypatch, held, late, worker)


async def _erase_while_it_opens(
    here: httpx.AsyncClient,
    there: httpx.AsyncClient,
    nats_client: Client,
    monkeypatch: pytest.MonkeyPatch,
    held: Held,
    late: Any,
    worker: Any = None,
) -> None:
    """`worker` comes when it is erased, where none is there yet."""
    monkeypatch.setattr(Follower, "advance", late)
    async with events(here, "s", message_id="m1") as stream:
        await held.is_reached()
        await erase(there)
        if worker is not None:
            await worker.__aenter__()
        try:
            await eventually(lambda: is_erased(nats_client))
            held.goes_on.set()
            assert ended(await stream.read_all())
        finally:
            if worker is not None:
                await worker.__aexit__(None, None, None)


async def test_reader_who_comes_back_while_it_is_erased_is_ended(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, advance = Held(), Follower.advance

    async def late(self: Follower, following: Following) -> None:
        if following.reader.message_id == "m1":
            await held.wait()
        await advance(self, following)

    async with running(broker.url) as mesh, client_of(mesh) as client:
        before = await begin(client, "m1")
        monkeypatch.setattr(Follower, "advance", late)
        async with events(client, "s", message_id="m1", reading=before) as stream:
            await held.is_reached()
            await erase(client)
            await eventually(lambda: is_erased(nats_client))
            held.goes_on.set()
            assert ended(await stream.read_all())


async def test_reader_gets_its_answer_where_the_mark_of_an_erasure_has_expired(
    broker: Broker, nats_client: Client
) -> None:
    """Its pod has heard of the erasure by a reader who stays, and asks for what is not there any more."""
    async with (
        running(broker.url) as mesh,
        client_of(mesh) as client,
        events(client, "s") as stays,
    ):
        assert (await post(client, "s", message_id="m0", model="echo")).status_code == 202
        await stays.read_finals()
        await erase(client)
        await stays.next()
        await eventually(lambda: is_erased(nats_client))
        await nats_client.jetstream().purge_stream("CHAT_TRANSCRIPT")
        assert (await post(client, "s", "new", message_id="m1", model="echo")).status_code == 202
        await stays.read_finals(2)
        async with events(client, "s", message_id="m1") as stream:
            assert (await stream.read_all()).text == "new"


async def test_reader_who_comes_and_goes_where_nothing_is_erased_costs_no_look(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_gone(*_: object, **__: object) -> bool:
        raise AssertionError("nothing was erased")

    monkeypatch.setattr(Erased, "is_gone", is_gone)
    async with running(broker.url) as mesh, client_of(mesh) as client:
        before = await begin(client, "m1")
        for reading in (before, Reading()):
            async with events(client, "s", message_id="m1", reading=reading) as stream:
                assert (await client.get("/v1/sessions/s/messages/m1")).json()["content"] == "1 "
                if reading is not before:
                    await stream.read(1)
        async with events(client, "s", message_id="m1", reading=before) as stream:
            assert (await client.delete("/v1/sessions/s/messages/m1")).status_code == 202
            assert ended(await stream.read_all())


async def test_who_repeats_a_message_that_is_erased_meanwhile_is_told_its_end(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, of_message = Held(), Starts.of_message

    async def late(self: Starts, *ids: Any) -> Any:
        await held.wait()
        return await of_message(self, *ids)

    body = {"message": "go", "message_id": "m1", "context": SILENT}
    headers = {"Accept": "text/event-stream"}

    async def repeat(client: httpx.AsyncClient) -> Reading:
        async with client.stream("POST", "/v1/sessions/s/messages", json=body, headers=headers) as response:
            return await Stream(response, Reading()).read_all()

    async with running(broker.url) as mesh, client_of(mesh) as client:
        await begin(client, "m1")
        monkeypatch.setattr(Starts, "of_message", late)
        repeated = asyncio.create_task(repeat(client))
        await held.is_reached()
        await erase(client)
        held.goes_on.set()
        assert ended(await asyncio.wait_for(repeated, PATIENCE_SECONDS))


async def test_a_turn_that_may_not_have_heard_of_the_erasure_looks_again_before_it_writes(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, claim = Held(), Claims.begin

    async def claim_late(self: Claims, request: Any, *more: Any) -> Any:
        if request.message == "before":
            await held.wait()
        return await claim(self, request, *more)

    async def lose(self: StopListener, _: Any) -> None:
        self.on_loss()

    monkeypatch.setattr(Claims, "begin", claim_late)
    monkeypatch.setattr(StopListener, "on_message", lose)
    async with running(broker.url) as mesh, client_of(mesh) as client:
        before = asyncio.create_task(reading_of(client, "before"))
        await held.is_reached()
        await erase(client)
        after = asyncio.create_task(reading_of(client, "after"))

        async def is_accepted() -> bool:
            return await queued(nats_client) == 3

        await eventually(is_accepted)
        held.goes_on.set()
        first = await asyncio.wait_for(before, PATIENCE_SECONDS)
        assert (first.text, ended(first)) == ("", True)
        assert (await asyncio.wait_for(after, PATIENCE_SECONDS)).text == "after"
