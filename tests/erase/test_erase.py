"""Erasing a session: gone at once for every reader, removed from the streams, not brought back by a redelivery."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.protocol.tokens import Token
from chatmesh.workflow import StopListener, StopSweep
from chatmesh.workflow.stops import RecentStops
from tests.support.broker import Broker
from tests.support.mesh import client_of, pod_and_client, running
from tests.support.reading import events, post
from tests.support.waiting import eventually

SECRET = "the-secret-word"
SILENT = {"model": "count", "max_tokens": 5, "tokens_per_second": 0.01}


async def stored_text(nats_client: Client) -> str:
    """Everything that the streams hold, as text."""
    js = nats_client.jetstream()
    found: list[bytes] = []
    for stream in await js.streams_info():
        for seq in range(stream.state.first_seq, stream.state.last_seq + 1):
            try:
                found.append((await js.get_msg(stream.config.name, seq)).data or b"")
            except Exception:  # noqa: BLE001, S112 - a sequence that is deleted
                continue
    return b"\n".join(found).decode()


async def answer(client: httpx.AsyncClient, session: str, message_id: str, text: str = SECRET) -> None:
    async with events(client, session, message_id=message_id) as stream:
        assert (await post(client, session, text, message_id=message_id, model="echo")).status_code == 202
        await stream.read_all()


async def test_an_erased_session_is_unknown_at_once_and_its_text_is_removed(
    broker: Broker, nats_client: Client
) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        for number in range(3):
            await answer(client, "s", f"m{number}")
        assert SECRET in await stored_text(nats_client)
        assert (await client.delete("/v1/sessions/s")).status_code == 202
        for path in ("/v1/sessions/s/messages", "/v1/sessions/s/messages/m1"):
            gone = await client.get(path)
            assert gone.status_code == 404, path
        assert (await client.get("/v1/sessions")).json()["sessions"] == []

        async def is_removed() -> bool:
            return SECRET not in await stored_text(nats_client)

        await eventually(is_removed)
        again = await client.delete("/v1/sessions/s")
        assert (again.status_code, again.json()["code"]) == (404, "unknown_session")


async def test_a_later_message_begins_a_new_session_of_that_name(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        await answer(client, "s", "m1")
        assert (await client.delete("/v1/sessions/s")).status_code == 202
        # The same message id again: JetStream remembers it, but the message is another one.
        await answer(client, "s", "m1", "another text")
        page = (await client.get("/v1/sessions/s/messages")).json()
        assert [row["content"] for row in page["messages"]] == ["another text", "another text"]
        async with events(client, "s", **{"from": "start"}) as stream:
            reading = await stream.read_finals()
        assert reading.text == "another text"


async def test_a_live_reader_is_told_to_drop_everything_and_goes_on_with_the_new_session(
    broker: Broker,
) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client, events(client, "s") as stream:
        await post(client, "s", "first", message_id="m1", model="echo")
        await stream.read_finals()
        assert (await client.delete("/v1/sessions/s")).status_code == 202
        async with asyncio.timeout(10):
            while not stream.reading.named("reset"):
                await stream.next()
        assert stream.reading.named("reset") == [{"reason": "session_erased"}]
        await post(client, "s", "second", message_id="m2", model="echo")
        async with asyncio.timeout(10):
            reading = await stream.read_finals(2)
        assert [chunk["message_id"] for chunk in reading.finals] == ["m1", "m2"]


async def test_a_position_from_before_is_answered_with_a_reset(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        async with events(client, "s") as stream:
            await post(client, "s", "first", message_id="m1", model="echo")
            old = await stream.read_finals()
        await client.delete("/v1/sessions/s")
        await answer(client, "s", "m2", "second")
        old.events.clear()
        async with events(client, "s", reading=old) as stream:
            reading = await stream.read_finals()
        assert reading.named("reset")
        assert reading.text == "second"


async def test_erasing_stops_what_runs_and_drops_what_is_queued(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        async with events(client, "s") as stream:
            await post(client, "s", SECRET, message_id="m1", **SILENT)
            await post(client, "s", SECRET, message_id="m2", **SILENT)
            await stream.read(1)
        assert (await client.delete("/v1/sessions/s")).status_code == 202
        await answer(client, "s", "m3", "after")
        page = (await client.get("/v1/sessions/s/messages")).json()
        assert {row["message_id"] for row in page["messages"]} == {"m3"}


@pytest.mark.parametrize("queue_first", [False, True], ids=["ran", "waited"])
async def test_an_id_that_ran_or_waited_when_its_session_was_erased_is_answered_in_the_new_one(
    broker: Broker, queue_first: bool
) -> None:
    async with (
        running(broker.url, id="p-1") as mesh,
        client_of(mesh) as client,
        pod_and_client(broker.url, "p-2") as (_, other),
    ):
        for erasing, accepting in ((client, client), (client, other), (other, client)):
            async with events(client, "s") as stream:
                if queue_first:
                    await post(client, "s", message_id="m0", **SILENT)
                await post(client, "s", message_id="m1", **SILENT)
                await stream.read(1)
            # One that is accepted as soon as it can be, and one when everything of before is long gone.
            for text in ("at once", "later"):
                assert (await erasing.delete("/v1/sessions/s")).status_code == 202
                await answer(accepting, "s", "m1", text)
                row = (await client.get("/v1/sessions/s/messages/m1")).json()
                assert (row["content"], row["finish_reason"]) == (text, "stop")
            assert (await client.delete("/v1/sessions/s")).status_code == 202


async def test_an_id_of_an_erased_session_can_be_stopped_in_the_new_one(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        for _ in range(3):
            async with events(client, "s", message_id="m1") as stream:
                assert (await post(client, "s", message_id="m1", **SILENT)).status_code == 202
                await stream.read(1)
                assert (await client.delete("/v1/sessions/s/messages/m1")).status_code == 202
                reading = await stream.read_all()
            assert (reading.text, reading.finals[0]["metadata"]["finish_reason"]) == ("1 ", "cancelled")
            assert (await client.delete("/v1/sessions/s")).status_code == 202
            async with events(client, "s", message_id="m1") as stream:
                assert (await post(client, "s", message_id="m1", **SILENT)).status_code == 202
                await stream.read(1)
            assert (await client.delete("/v1/sessions/s")).status_code == 202


async def test_an_erasure_that_was_not_heard_ends_what_runs_once_it_is_looked_for(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(*_: object) -> None:
        return

    monkeypatch.setattr(StopListener, "on_message", deaf)
    sweeps: list[StopSweep] = []
    began = StopSweep.run

    async def run(self: StopSweep, started: Callable[[], None]) -> None:
        sweeps.append(self)
        await began(self, started)

    monkeypatch.setattr(StopSweep, "run", run)
    async with running(broker.url) as mesh, client_of(mesh) as client:
        async with events(client, "s") as stream:
            await post(client, "s", message_id="m1", **SILENT)
            await stream.read(1)
        assert (await client.delete("/v1/sessions/s")).status_code == 202
        sweeps[0].wake()
        # Its reader may be shown the end of what ran, since nobody heard that there was nothing to be answered.
        await answer(client, "s", "m1", "after")

        async def is_answered() -> bool:
            row = (await client.get("/v1/sessions/s/messages/m1")).json()
            return bool((row["content"], row["finish_reason"]) == ("after", "stop"))

        await eventually(is_answered)


def test_an_erasure_that_was_heard_ends_what_was_accepted_before_it_and_nothing_else() -> None:
    stops = RecentStops()
    stops.listens()
    session = Token("s")
    assert not stops.knows_erased(session, 1)
    stops.note_erased(session, 7)
    stops.note_erased(session, 4)
    assert stops.knows_erased(session, 6)
    assert not stops.knows_erased(session, 8)
    assert not stops.knows_erased(Token("other"), 6)
    assert not stops.knows(session, Token("m"))


async def test_an_erase_request_survives_the_absence_of_workers(broker: Broker, nats_client: Client) -> None:
    async with running(broker.url, role="pod", id="pod-1") as pod, client_of(pod) as client:
        await post(client, "s", SECRET, message_id="m1", model="echo")
        assert (await client.delete("/v1/sessions/s")).status_code == 202
        assert (await client.get("/v1/sessions/s/messages")).status_code == 404
        async with running(broker.url, role="worker", id="w-1"):

            async def is_removed() -> bool:
                return SECRET not in await stored_text(nats_client)

            await eventually(is_removed)
        assert (await client.get("/v1/sessions/s/messages")).status_code == 404


async def test_sessions_are_listed_page_by_page(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        for name in ("a", "b", "c"):
            await answer(client, name, "m1")
        first = (await client.get("/v1/sessions", params={"limit": "2"})).json()
        assert [row["session_id"] for row in first["sessions"]] == ["a", "b"]
        second = (await client.get("/v1/sessions", params={"limit": "2", "after": first["next"]})).json()
        assert [row["session_id"] for row in second["sessions"]] == ["c"]
        assert second["next"] is None
