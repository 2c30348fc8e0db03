"""What is at the broker decides over which streams the transcript lies, whatever is missing or away for a moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats.aio.client import Client

from chatmesh.broker import JetStreamApi, homes
from chatmesh.broker.layout import Layout
from chatmesh.errors import BrokerUnreachableError
from chatmesh.operate.members import read_members
from chatmesh.operate.sessions import Wanted, list_sessions
from chatmesh.protocol import subjects
from chatmesh.protocol.tokens import Token
from tests.parts.support import FOUR, one, parts_of
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.reading import events, post
from tests.support.stored import api
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


class Away(JetStreamApi):
    """The broker's answers, but for one question."""

    def __init__(self, real: JetStreamApi, name: str) -> None:
        self._real, self._name = real, name

    async def call(
        self, name: str, body: dict[str, Any] | None = None, *, seconds: float = 5.0
    ) -> dict[str, Any]:
        if name == self._name:
            self._name = ""
            raise BrokerUnreachableError("away", where=name)
        return await self._real.call(name, body, seconds=seconds)


async def test_look_that_fails_half_way_is_told_of_by_the_next_one(broker: Broker) -> None:
    told: list[int] = []
    async with running(broker.url, FOUR, role="pod") as mesh:
        layout = Layout(Away(mesh.broker.api, "STREAM.INFO.CHAT_TRANSCRIPT_2"))
        layout.on_change(lambda: told.append(len(layout.parts)))
        with pytest.raises(BrokerUnreachableError):
            await layout.look()
        assert (layout.is_partitioned, layout.parts) == (False, ())
        await layout.look()
    assert told == [4]


async def test_whole_transcript_has_streams_as_before_there_were_parts(
    broker: Broker, nats_client: Client
) -> None:
    async with running(broker.url, role="pod"):
        found = {}
        for name in ("CHAT_TRANSCRIPT", "CHAT_SESSIONS"):
            config = (await api(nats_client, f"STREAM.INFO.{name}"))["config"]
            found[name] = config["subjects"], config.get("subject_transform")
    session = "chat.session.*"
    assert found == {
        "CHAT_TRANSCRIPT": (
            [f"{session}.claim", f"{session}.stop.*", f"{session}.erased", f"{session}.transcript.*"],
            None,
        ),
        "CHAT_SESSIONS": (["chat.card.*", "chat.owned.*.*"], None),
    }


async def test_session_whose_part_was_deleted_begins_anew_in_another(
    broker: Broker, nats_client: Client
) -> None:
    session = one(3)
    async with pod_and_client(broker.url, "x", FOUR, role="all") as (_, client):
        await say(client, session)
    await api(nats_client, "STREAM.DELETE.CHAT_TRANSCRIPT_3")
    async with pod_and_client(broker.url, "y", "streams.partitions=2", role="all") as (_, client):
        await say(client, session)
        assert len((await client.get(f"/v1/sessions/{session}/messages")).json()["messages"]) == 2
    assert await parts_of(nats_client, session, 3) == {1}


async def test_part_that_was_made_anew_is_not_trusted_to_be_the_same(
    broker: Broker, nats_client: Client
) -> None:
    """While it was away somebody else put the session elsewhere."""
    session = one(3)
    async with running(broker.url, FOUR, role="pod", id="x") as mesh:
        assert (await mesh.broker.homes.begin(session, seconds=5)).part == 3
        await api(nats_client, "STREAM.DELETE.CHAT_TRANSCRIPT_3")
        await nats_client.jetstream().publish(subjects.home(session), b"1")
        mesh.broker.streams.doubt()
        await eventually(lambda: mesh.broker.layout.generation == 1)
        assert mesh.broker.layout.has(3)
        for asked in (mesh.broker.homes.find, mesh.broker.homes.begin):
            assert (await asked(session, seconds=5)).part == 1


async def test_part_that_is_missing_hides_none_behind_it(broker: Broker, nats_client: Client) -> None:
    session = one(3)
    async with pod_and_client(broker.url, "x", FOUR, role="all") as (_, client):
        await say(client, session)
    await api(nats_client, "STREAM.DELETE.CHAT_TRANSCRIPT_1")
    async with pod_and_client(broker.url, "y", role="all") as (mesh, client):
        await say(client, session)
        assert await parts_of(nats_client, session, 1) == set()
        members = await read_members(mesh.broker, interval_seconds=1)
        page = await list_sessions(mesh.broker, members, Wanted(limit=3))
        assert [each.session_id for each in page.sessions] == [session]
    last = await nats_client.jetstream().get_last_msg("CHAT_TRANSCRIPT_3", f"chat.session.{session}.claim")
    assert last.seq > 1


async def test_first_part_that_was_deleted_is_made_as_a_part_again(
    broker: Broker, nats_client: Client
) -> None:
    async with running(broker.url, FOUR, role="pod"):
        pass
    await api(nats_client, "STREAM.DELETE.CHAT_TRANSCRIPT")
    async with running(broker.url, role="pod") as mesh:
        assert mesh.broker.layout.is_partitioned
        assert [part.number for part in mesh.broker.layout.parts] == [0, 1, 2, 3]


async def test_sessions_begin_only_in_parts_that_there_are(broker: Broker, nats_client: Client) -> None:
    async with (
        running(broker.url, FOUR, role="pod", id="x"),
        running(broker.url, "streams.partitions=2", role="pod", id="y") as mesh,
    ):
        names = [Token(f"u{number}") for number in range(30)]
        homes = await asyncio.gather(*(mesh.broker.homes.begin(name, seconds=5) for name in names))
        assert {home.part for home in homes} == {0, 1}


async def say(client: Any, session: str) -> None:
    async with asyncio.timeout(20), events(client, session) as stream:
        await post(client, session, model="count", max_tokens=2)
        assert (await stream.read_finals()).text == "1 2 "


async def test_only_so_many_homes_are_remembered(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "MAX_KNOWN", 3)
    sessions = [Token(f"t{number}") for number in range(6)]
    async with running(broker.url, FOUR, role="pod") as mesh:
        ours = mesh.broker.homes
        recorded = [await ours.begin(session, seconds=5) for session in sessions]
        assert [session for session in sessions if ours.known(session) is not None] == sessions[-3:]
        assert [await ours.find(session, seconds=5) for session in sessions] == recorded
