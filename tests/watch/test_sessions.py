"""`chatmesh sessions`: what each does, whoever looks for it; a page costs the same, however many there are."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from nats.aio.client import Client

from chatmesh.operate import sessions as module
from chatmesh.operate.members import read_members
from chatmesh.operate.sessions import Activity, Sessions, Wanted, list_sessions
from tests.support.broker import Broker
from tests.support.mesh import Mesh, client_of, running
from tests.support.reading import events, post
from tests.support.waiting import eventually
from tests.watch.support import SLOW, STREAMS_ONLY, Command, store_claim


async def read(mesh: Mesh, wanted: Wanted | None = None) -> Sessions:
    members = await read_members(mesh.broker, interval_seconds=60)
    return await list_sessions(mesh.broker, members, wanted or Wanted())


def names(found: Sessions) -> list[str]:
    return [session.session_id for session in found.sessions]


async def test_running_session_stands_before_idle_ones_with_worker_and_readers(broker: Broker) -> None:
    async with running(broker.url, "default_model=echo", id="w1") as mesh, client_of(mesh) as http:
        for name in ("idle-1", "idle-2"):
            async with events(http, name) as stream:
                await post(http, name, "hello", message_id="m")
                await stream.read_finals()
        async with events(http, "busy") as stream:
            await post(http, "busy", message_id="b1", **SLOW)
            await stream.read(2)

            async def is_told() -> bool:
                # The answer's end is stored a moment before its request leaves the queue.
                return [(each.session_id, each.activity) for each in (await read(mesh)).sessions] == [
                    ("busy", "running"),
                    ("idle-2", "idle"),
                    ("idle-1", "idle"),
                ]

            await eventually(is_told)
            busy, idle, _ = (await read(mesh)).sessions
            assert busy.held is not None
            assert (busy.held.claim.message_id, busy.held.claim.worker_id) == ("b1", "w1")
            assert (busy.unanswered, busy.pods) == (1, ("w1",))
            assert (idle.unanswered, idle.held is None) == (0, False)
            assert names(await read(mesh, Wanted(activity=Activity.RUNNING))) == ["busy"]
            assert names(await read(mesh, Wanted(activity=Activity.IDLE))) == ["idle-2", "idle-1"]
            assert names(await read(mesh, Wanted(activity=Activity.QUEUED))) == []
            assert names(await read(mesh, Wanted(ids="*-1"))) == ["idle-1"]
            assert names(await read(mesh, Wanted(worker_id="w2"))) == []
            assert "busy" in names(await read(mesh, Wanted(pod_id="w1")))
            await http.delete("/v1/sessions/busy/messages/b1")
            await stream.read_finals()


async def test_session_that_waits_for_its_first_worker_is_queued(broker: Broker, command: Command) -> None:
    async with running(broker.url, role=STREAMS_ONLY) as mesh, client_of(mesh) as http:
        await post(http, "s", "a secret of hers", message_id="m")
        await post(http, "s", "another one", message_id="n")
        answer, shown = await asyncio.gather(command.json("sessions"), command.text("sessions", "s*"))
    assert answer == {
        "sessions": [{"session_id": "s", "state": "queued", "unanswered": 2, "claim": None, "pods": []}],
        "next": None,
        "more_busy": False,
    }
    assert shown.splitlines()[1].split() == ["s", "-", "-", "-", "-", "2", "-", "queued"]
    assert "1 session." in shown


async def test_pages_have_every_session_once_the_latest_first(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces are made small, so that there are many."""
    monkeypatch.setattr(module, "FIRST_PIECE", 4)
    async with running(broker.url, role=STREAMS_ONLY) as mesh:
        for number in range(40):
            # Each has two claims, far apart.
            await store_claim(nats_client, f"s{number % 20}", timestamp=f"\x1b[2J{number}")
        seen: list[str] = []
        wanted = Wanted(limit=7)
        while True:
            found = await read(mesh, wanted)
            assert len(found.sessions) <= 7
            seen += names(found)
            if found.following is None:
                break
            wanted = replace(wanted, before=found.following)
        assert seen == [f"s{number}" for number in reversed(range(20))]
        monkeypatch.setattr(module, "MAX_CLAIMS", 5)
        few = await read(mesh, Wanted(limit=100, ids="s0"))
        assert few.sessions == ()
        assert few.following is not None, "what was not looked at is no end"


async def test_busy_sessions_that_are_too_many_are_told_to_be_more(
    broker: Broker, nats_client: Client
) -> None:
    async with running(broker.url, role=STREAMS_ONLY) as mesh:
        for number in range(5):
            await nats_client.jetstream().publish(f"chat.workflow.execute.s{number}", b"{}")
        found = await read(mesh, Wanted(limit=3))
        assert (names(found), found.has_more_busy) == (["s0", "s1", "s2"], True)
        found = await read(mesh, Wanted(limit=5))
        assert (len(found.sessions), found.has_more_busy) == (5, False)


async def test_erased_session_is_none_and_a_garbled_claim_is_nobodys(
    broker: Broker, nats_client: Client
) -> None:
    async with running(broker.url, "default_model=echo") as mesh, client_of(mesh) as http:
        async with events(http, "s") as stream:
            await post(http, "s", "hello", message_id="m")
            await stream.read_finals()
        await http.delete("/v1/sessions/s")

        async def is_gone() -> bool:
            return names(await read(mesh)) == []

        await eventually(is_gone)
        await nats_client.jetstream().publish("chat.session.t.claim", b"\xff")
        await nats_client.jetstream().publish("chat.session.o$d.claim", b"\xff")
        (session,) = (await read(mesh)).sessions
        assert session.held is not None
        assert (session.session_id, session.held.claim.worker_id) == ("t", "unreadable")


async def test_readers_at_a_pod_that_is_dead_do_not_count(broker: Broker, nats_client: Client) -> None:
    async with running(broker.url, role=STREAMS_ONLY, id="p1") as mesh, client_of(mesh) as http:
        await store_claim(nats_client, "s")
        js = nats_client.jetstream()
        await js.publish("chat.registry.s.p1", b'{"boot": "another life"}')
        await js.publish("chat.registry.s.p2", b'{"boot": "b"}')
        await js.publish("chat.registry.s.p3", b'{"boot": "b", "released": true}')
        await js.publish("chat.pod.p2.heartbeat", b'{"pod_id": "p2", "boot": "b", "status": "stopped"}')
        (session,) = (await read(mesh)).sessions
        assert session.pods == ()
        async with events(http, "s"):

            async def is_told() -> bool:
                return (await read(mesh)).sessions[0].pods == ("p1",)

            await eventually(is_told)
