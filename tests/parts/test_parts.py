"""A mesh whose transcript lies in parts does all that one with a whole transcript does; each session lies in one part."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError

from chatmesh.operate.members import read_members
from chatmesh.operate.session import read_session
from chatmesh.operate.sessions import Wanted, list_sessions
from chatmesh.operate.usage import usage
from chatmesh.operate.verification import verify
from chatmesh.protocol import subjects
from chatmesh.protocol.partitions import proposed
from chatmesh.protocol.tokens import Token
from tests.parts.support import FOUR, SLOW, names, one, parts_of
from tests.protocol.wire_schemas import faults
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.reading import events, post
from tests.support.waiting import eventually
from tests.support.watching import watching


async def test_sessions_are_spread_and_each_lies_whole_in_one_part(
    broker: Broker, nats_client: Client
) -> None:
    async with pod_and_client(broker.url, "x", FOUR, role="all") as (mesh, client):
        for part in range(4):
            session = one(part)
            for number in range(2):
                async with events(client, session) as stream:
                    await post(client, session, model="count", max_tokens=3, message_id=f"m{number}")
                    assert (await stream.read_finals()).text == "1 2 3 "
            assert await parts_of(nats_client, session) == {part}
            rows = (await client.get(f"/v1/sessions/{session}/messages")).json()["messages"]
            assert [row["status"] for row in rows] == ["done"] * 4
            assert (await verify(mesh.broker, session)).holds
        listed = (await client.get("/v1/sessions")).json()["sessions"]
        assert {row["session_id"] for row in listed} == {one(part) for part in range(4)}


async def test_readers_go_on_at_another_pod_and_stops_come_from_there(broker: Broker) -> None:
    session = one(3)
    async with (
        pod_and_client(broker.url, "x", FOUR, role="all") as (_, here),
        pod_and_client(broker.url, "y", FOUR) as (_, there),
    ):
        async with events(here, session) as stream:
            await post(here, session, message_id="m", **SLOW | {"max_tokens": 1000})
            reading = await stream.read(10)
        async with events(there, session, reading=reading) as stream:
            await stream.read(10)
            assert (await there.delete(f"/v1/sessions/{session}/messages/m")).status_code == 202
            reading = await stream.read_finals()
    assert reading.named("reset") == []
    assert reading.ids == list(range(len(reading.ids)))
    assert reading.finals[0]["metadata"]["finish_reason"] == "cancelled"


@pytest.mark.slow
async def test_erased_session_is_unknown_and_may_begin_again(broker: Broker, nats_client: Client) -> None:
    session = one(2)
    async with pod_and_client(broker.url, "x", FOUR, role="all") as (mesh, client):
        for text in ("before", "after"):
            async with events(client, session) as stream:
                await post(client, session, text, model="echo")
                await stream.read_finals()
            rows = (await client.get(f"/v1/sessions/{session}/messages")).json()["messages"]
            assert [row["content"] for row in rows] == [text, text]
            if text == "before":
                assert (await client.delete(f"/v1/sessions/{session}")).status_code == 202

                async def is_gone() -> bool:
                    return (await read_session(mesh.broker, session)).tombstones == 1

                await eventually(is_gone)
        assert await parts_of(nats_client, session) == {2}


@pytest.mark.slow
async def test_request_of_a_foreign_pod_is_answered_in_a_part(broker: Broker, nats_client: Client) -> None:
    session = one(1)
    request = {"message_id": "m", "session_id": session, "user_id": "u", "message": "a b c"} | {
        "context": {"model": "echo"},
        "timestamp": "2026-11-26T00:00:00Z",
        "correlation_id": "c",
    }
    async with running(broker.url, FOUR, role="worker", id="w"):
        heard = await nats_client.subscribe(f"chat.session.{session}.broadcast")
        await nats_client.publish(f"chat.workflow.execute.{session}", json.dumps(request).encode())
        chunks: list[dict[str, object]] = []
        while not (chunks and chunks[-1]["is_final"]):
            chunks.append(json.loads((await heard.next_msg(timeout=10)).data))
    assert "".join(str(chunk["chunk"]) for chunk in chunks) == "a b c"
    assert await parts_of(nats_client, session) == {1}


@pytest.mark.slow
async def test_what_is_said_on_nats_is_what_the_document_says_once_the_part_is_taken_off(
    broker: Broker, nats_client: Client
) -> None:
    session, heard = one(2), set()
    async with (
        watching(nats_client, "chat.>") as wire,
        pod_and_client(broker.url, "x", FOUR, role="all") as (_, client),
        events(client, session) as stream,
    ):
        await post(client, session, model="count", max_tokens=2)
        await stream.read_finals()
        await nats_client.flush()
        for message in wire.messages:
            channel, _, wrong = faults(subjects.stored(message.subject), message.data, message.headers or {})
            assert wrong == [], message.subject
            heard.add((channel, message.subject.startswith("chat.part.2.")))
    assert {("homes", False), ("requests", False), ("claims", True), ("transcript", True)} <= heard


async def test_nobody_writes_who_does_not_name_a_part(broker: Broker, nats_client: Client) -> None:
    async with running(broker.url, FOUR, role="pod"):
        with pytest.raises(NoRespondersError):
            await nats_client.request("chat.session.s.claim", b"{}", timeout=5)


@pytest.mark.slow
async def test_processes_with_other_numbers_of_parts_agree_where_a_session_lies(broker: Broker) -> None:
    named = (Token(f"t{number}") for number in itertools.count())
    sessions = list(itertools.islice((name for name in named if proposed(name, 7) != proposed(name, 4)), 24))
    async with (
        running(broker.url, "streams.partitions=7", role="pod", id="seven") as seven,
        running(broker.url, FOUR, role="pod", id="four") as four,
    ):
        homes = [
            await asyncio.gather(*(mesh.broker.homes.begin(name, seconds=10) for mesh in (seven, four)))
            for name in sessions
        ]
        assert all(a == b for a, b in homes)
        for name, (home, _) in zip(sessions, homes, strict=True):
            assert home.part in (proposed(name, 7), proposed(name, 4))  # whoever was first
        found = await seven.broker.homes.find(sessions[0], seconds=5)
    async with running(broker.url, role="pod", id="one") as alone:
        assert await alone.broker.homes.find(sessions[0], seconds=5) == found


@pytest.mark.slow
async def test_operators_see_the_sessions_of_all_parts(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", FOUR, role="all") as (mesh, client):
        sessions = [name for part in range(4) for name, _ in zip(names(part), range(2), strict=False)]
        for session in sessions:
            async with events(client, session) as stream:
                await post(client, session, model="count", max_tokens=1)
                await stream.read_finals()
        members = await read_members(mesh.broker, interval_seconds=1)
        seen: list[str] = []
        before = 0
        while True:
            page = await list_sessions(mesh.broker, members, Wanted(limit=3, before=before))
            seen += [each.session_id for each in page.sessions]
            if page.following is None:
                break
            before = page.following
        assert seen == sessions[::-1]
        found = await usage(mesh.broker, by="session", since=0.0, session_id=None)
        assert [line.key for line in found.bill.lines] == sorted(sessions)
