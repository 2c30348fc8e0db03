"""`chatmesh ps`: who lives, who is silent, who left; whatever anybody calls a heartbeat."""

from __future__ import annotations

import asyncio
import json

from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.cli.watch import members as view
from chatmesh.operate.members import Member, Members, State, read_members
from chatmesh.protocol.messages import HeartbeatMessage
from chatmesh.protocol.tokens import Token
from tests.support.broker import Broker
from tests.support.mesh import running
from tests.support.waiting import eventually
from tests.watch.support import STREAMS_ONLY, Command


def states(found: Members) -> dict[tuple[str, str], str]:
    return {(each.heartbeat.role, each.heartbeat.id): each.state for each in found.members}


async def test_who_lives_is_told_from_who_left(broker: Broker) -> None:
    async with running(broker.url, id="a") as mesh:
        async with running(broker.url, role="worker", id="b"):
            found = await eventually(lambda: three(mesh))
            assert states(found) == {
                ("pod", "a"): "alive",
                ("worker", "a"): "alive",
                ("worker", "b"): "alive",
            }
            assert [each.heartbeat.models for each in found.members][1:] == [("count", "demo", "echo")] * 2

        async def has_left() -> bool:
            return states(await read_members(mesh.broker, interval_seconds=60))["worker", "b"] == "gone"

        await eventually(has_left)
        assert (found.unreadable, found.more) == (0, False)


async def three(mesh: Mesh) -> Members | None:
    """Once each has been heard of: a heartbeat is not waited for."""
    found = await read_members(mesh.broker, interval_seconds=60)
    return found if len(found.members) == 3 else None


async def test_who_is_silent_for_three_heartbeats_is_marked(broker: Broker, nats_client: Client) -> None:
    async with running(broker.url, role=STREAMS_ONLY, id="a") as mesh:
        beat = HeartbeatMessage("worker", Token("w"), "", boot="b").encode()
        await nats_client.jetstream().publish("chat.worker.w.heartbeat", beat)
        assert states(await read_members(mesh.broker, interval_seconds=60))["worker", "w"] == "alive"

        async def is_silent() -> bool:
            found = await read_members(mesh.broker, interval_seconds=0.001)
            return states(found)["worker", "w"] == "silent"

        await eventually(is_silent)


async def test_what_is_no_heartbeat_is_counted_and_shown_as_nobody(
    broker: Broker, nats_client: Client
) -> None:
    js = nats_client.jetstream()
    async with running(broker.url, role=STREAMS_ONLY, id="a") as mesh:
        await js.publish("chat.pod.garbage.heartbeat", b"\xff")
        await js.publish("chat.pod.other.heartbeat", b'{"pod_id": "a", "timestamp": ""}')
        hostile = {"worker_id": "evil", "status": "\x1b[2Jwell", "models": ["\x1b]0;title\x07", "m" * 1000]}
        hostile |= {"memory_usage_mb": 1e300, "cpu_usage_percent": -1e300, "active_generations": 10**18}
        await js.publish("chat.worker.evil.heartbeat", json.dumps(hostile).encode())
        found = await read_members(mesh.broker, interval_seconds=60)
    shown = view.text(found)
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) < 200
    assert "2 heartbeats can't be read." in shown
    assert found.unreadable == 2
    assert [(each["id"], each["status"]) for each in view.wire(found)["members"]] == [
        ("a", "healthy"),
        ("evil", "\x1b[2Jwell"),
    ]


async def test_command_shows_a_row_for_each(broker: Broker, command: Command) -> None:
    async with running(broker.url, id="a"):
        shown, answer = await asyncio.gather(command.text("ps"), command.json("ps", "--role", "worker"))
    lines = shown.splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [["pod", "a", "0"], ["worker", "a", "0"]]
    assert lines[1].endswith("healthy")
    assert lines[-1] == "1 pod and 1 worker alive."
    (worker,) = answer["members"]
    assert (worker["id"], worker["state"], worker["status"]) == ("a", "alive", "healthy")
    assert (worker["models"], worker["active_generations"]) == (["count", "demo", "echo"], 0)
    assert worker["memory_usage_mb"] > 1
    assert worker["boot"]
    assert worker["heard_at"]


def test_life_is_over_when_another_one_beats_or_it_said_goodbye_and_unknown_where_nothing_was_heard() -> None:
    def member(state: State, boot: str) -> Members:
        beat = HeartbeatMessage("worker", Token("w"), "", boot=boot)
        return Members((Member(beat, state, "", 0.0),))

    assert not member(State.ALIVE, "b").has_died("worker", "w", "b")
    assert not member(State.ALIVE, "").has_died("worker", "w", "b"), "foreign ones have no boot"
    assert member(State.ALIVE, "other").has_died("worker", "w", "b")
    assert member(State.SILENT, "b").has_died("worker", "w", "b")
    assert member(State.GONE, "b").has_died("worker", "w", "b")
    assert not member(State.GONE, "b").has_died("pod", "w", "b")
    assert not Members().has_died("worker", "w", "b")
