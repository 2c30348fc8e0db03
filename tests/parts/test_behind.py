"""Whoever is behind, a replica or a pod that has not heard of new parts, neither splits a session nor misses an answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from nats.aio.client import Client

from chatmesh.app.parts import stream_settings
from chatmesh.broker import DirectGet, Stored, keeper
from chatmesh.broker.homes import Homes
from chatmesh.config import load
from chatmesh.hub import lookout
from tests.operate.support import Start, ensure
from tests.parts.support import FOUR, one, parts_of
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.reading import events, post

pytestmark = pytest.mark.slow

DEAF = """mappings: {
    "chat.pod.pod-1.response": [ {destination: "chat.pod.pod-1.response", weight: 0%} ]
}
"""
"""Nothing reaches pod-1 live."""


class Behind(DirectGet):
    """A replica that has not stored anything of the transcript yet."""

    async def last(self, stream: str, subject: str, *, seconds: float) -> Stored | None:
        is_transcript = stream.startswith("CHAT_TRANSCRIPT")
        return None if is_transcript else await super().last(stream, subject, seconds=seconds)


async def test_replica_that_is_behind_does_not_move_a_session_of_before(
    broker: Broker, nats_client: Client, chatmesh: Start
) -> None:
    # By its hash it would lie in part 3.
    session = one(3)
    async with (
        pod_and_client(broker.url, "x", role="all") as (_, client),
        events(client, session) as stream,
    ):
        await post(client, session, model="count", max_tokens=2)
        await stream.read_finals()
    code, process = await ensure(chatmesh, broker.url, "--apply", "--set", FOUR)
    assert code == 0, process.stdout
    settings = stream_settings(load(None, environ={}, overrides=[FOUR], role="pod", id="y").config)
    async with running(broker.url, FOUR, role="pod", id="y") as mesh:
        here = mesh.broker
        behind = Behind(here.connection, here.replies)
        homes = Homes(here.layout, behind, here.publisher, replace(settings, replicas=3))
        assert (await homes.begin(session, seconds=5)).part == 0
        assert (await here.homes.find(session, seconds=5)).part == 0


async def test_reader_who_waits_hears_of_an_answer_in_a_part_that_was_added_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lookout finds its claim, though it looks at the part for the first time."""
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(lookout, "PAUSE_LOOKS", 0)  # one that took 0.3 s would be the last for half a minute
    monkeypatch.setattr(keeper, "LOOK_SECONDS", 3600.0)  # it hears of the new parts when it is told to look
    session = one(3)
    broker = await Broker.start(tmp_path, config_extra=DEAF)
    try:
        async with (
            pod_and_client(broker.url, "pod-1", "streams.partitions=2") as (deaf, client),
            events(client, session) as stream,
        ):
            async with (
                pod_and_client(broker.url, "y", FOUR, role="all") as (_, other),
                events(other, session) as heard,
            ):
                await post(other, session, model="count", max_tokens=3)
                await heard.read_finals()
            assert len(deaf.broker.layout.parts) == 2, "it has heard of the new parts already"
            await deaf.broker.layout.look()
            assert (await stream.read_finals()).text == "1 2 3 "
        found = await broker.connect()
        try:
            assert await parts_of(found, session) == {3}
        finally:
            await found.close()
    finally:
        broker.stop()
