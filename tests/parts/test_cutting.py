"""The number of parts changes while a mesh answers: nothing is lost, comes twice or out of order, and positions stay good."""

from __future__ import annotations

import pytest
from nats.aio.client import Client

from chatmesh.broker.streams import TRANSCRIPT, StreamSettings, declared
from chatmesh.errors import BrokerError
from chatmesh.protocol.tokens import Token
from tests.operate.support import Start, ensure
from tests.parts.support import FOUR, SLOW, names, one, parts_of
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.reading import events, post
from tests.support.stored import update_stream
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


async def cut(chatmesh: Start, url: str, partitions: int) -> None:
    code, process = await ensure(chatmesh, url, "--apply", "--set", f"streams.partitions={partitions}")
    assert code == 0, process.stdout


async def test_answers_that_run_while_the_transcript_is_cut_are_whole_and_stay_where_they_are(
    broker: Broker, nats_client: Client, chatmesh: Start
) -> None:
    # By its hash it would lie in part 3.
    session = one(3)
    async with pod_and_client(broker.url, "x", role="all") as (mesh, client):
        async with events(client, session) as stream:
            await post(client, session, message_id="m1", **SLOW)
            await stream.read(10)
            await cut(chatmesh, broker.url, 4)
            reading = await stream.read_finals()
        assert reading.ids == list(range(61))
        # At the latest by a look at the streams, each ten seconds.
        await eventually(lambda: mesh.broker.layout.is_partitioned, timeout=20)
        # The old process goes on with what it knows, new sessions in the first part.
        new = next(name for name in names(2) if name != session)
        for name, message_id in ((session, "m2"), (new, "m1")):
            async with events(client, name, last_event_id=None) as stream:
                await post(client, name, model="count", max_tokens=3, message_id=message_id)
                assert (await stream.read_finals()).text == "1 2 3 "
            assert await parts_of(nats_client, name) == {0}
        # Begun again with the new configuration: the old one is read on without a reset, new ones are spread.
        position = reading.events[20].id
        async with pod_and_client(broker.url, "y", FOUR, role="all") as (_, other):
            async with events(other, session, last_event_id=position) as stream:
                again = await stream.read_finals(2)
            assert again.named("reset") == []
            assert [chunk["chunk_id"] for chunk in again.chunks] == [*range(21, 61), 0, 1, 2, 3]
            fresh = next(name for name in names(2) if name != new)
            async with events(other, fresh) as stream:
                await post(other, fresh, model="count", max_tokens=3)
                await stream.read_finals()
            assert await parts_of(nats_client, fresh) == {2}


async def test_what_is_on_its_way_to_the_whole_when_it_is_cut_is_refused_and_stored_nowhere(
    broker: Broker, nats_client: Client
) -> None:
    """Its session may be begun elsewhere by now. What is under a claim goes on to where that lies: the test above."""
    async with running(broker.url, role="pod", id="x") as mesh:
        settings = StreamSettings(1, 24 * 3600, 168 * 3600, 1, 1, 1, 1, 1, 1)
        part = next(
            spec.wire() for spec in declared(settings, is_partitioned=True) if spec.name == TRANSCRIPT
        )
        changed = {name: part[name] for name in ("subjects", "subject_transform")}
        await update_stream(nats_client, TRANSCRIPT, **changed)
        with pytest.raises(BrokerError):
            await mesh.broker.transcript.stop(Token("s"), Token("m"), b"{}", seconds=10)
        assert mesh.broker.layout.is_partitioned
        assert await parts_of(nats_client, "s", 1) == set()
        # Asked again, as the client does: it finds the way.
        await mesh.broker.transcript.stop(Token("s"), Token("m"), b"{}", seconds=10)
        assert await parts_of(nats_client, "s", 1) == {0}


async def test_stop_reaches_a_worker_that_began_before_the_transcript_was_cut(
    broker: Broker, chatmesh: Start
) -> None:
    silent = {"model": "count", "max_tokens": 5, "tokens_per_second": 0.01}
    async with (
        running(broker.url, role="worker", id="w") as worker,
        pod_and_client(broker.url, "x") as (_, client),
        events(client, "s") as stream,
    ):
        await post(client, "s", message_id="m", **silent)
        await stream.read(1)
        await cut(chatmesh, broker.url, 4)
        await eventually(lambda: worker.broker.layout.is_partitioned, timeout=15)
        async with pod_and_client(broker.url, "y", FOUR) as (_, other):
            assert (await other.delete("/v1/sessions/s/messages/m")).status_code == 202
            reading = await stream.read_finals()
    assert reading.finals[0]["metadata"]["finish_reason"] == "cancelled"


async def test_fewer_parts_leave_sessions_where_they_are(broker: Broker, nats_client: Client) -> None:
    old = one(3)
    async with (
        pod_and_client(broker.url, "x", FOUR, role="all") as (_, client),
        events(client, old) as stream,
    ):
        await post(client, old, model="count", max_tokens=5)
        reading = await stream.read_finals()
    async with pod_and_client(broker.url, "y", "streams.partitions=2", role="all") as (_, client):
        async with events(client, old, last_event_id=reading.events[1].id) as stream:
            await post(client, old, model="count", max_tokens=2)
            again = await stream.read_finals(2)
        assert again.named("reset") == []
        assert [chunk["chunk_id"] for chunk in again.chunks] == [2, 3, 4, 5, 0, 1, 2]
        assert await parts_of(nats_client, old) == {3}
        listed = (await client.get("/v1/sessions")).json()["sessions"]
        assert [row["session_id"] for row in listed] == [old]


async def test_process_that_is_configured_for_parts_does_not_cut_by_itself(
    broker: Broker, chatmesh: Start
) -> None:
    async with running(broker.url, role="pod"):
        process = chatmesh("run", "--role", "pod", "--set", f"nats.servers={broker.url}", "--set", FOUR)
        assert await process.wait(timeout=30) == 2
    assert "streams ensure --apply" in process.stderr
