"""`chatmesh queue`: every unanswered message, oldest first, and who has it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats.aio.client import Client

from chatmesh.broker import HeldClaim
from chatmesh.broker.lease_book import Lease
from chatmesh.operate.members import Member, Members, State, read_members
from chatmesh.operate.queue import Queue, Unanswered, _with_holder, read_queue
from chatmesh.operate.standings import Standing
from chatmesh.protocol.messages import HeartbeatMessage
from chatmesh.protocol.records import Claim
from chatmesh.protocol.tokens import Token
from tests.support.broker import Broker
from tests.support.mesh import Mesh, client_of, running
from tests.support.reading import events, post
from tests.support.waiting import eventually
from tests.watch.support import SLOW, STREAMS_ONLY, Command, claim


async def read(mesh: Mesh, limit: int = 50) -> Queue:
    members = await read_members(mesh.broker, interval_seconds=60)
    return await read_queue(mesh.broker, members, limit=limit)


async def test_running_and_parked_messages_are_told_with_their_worker(broker: Broker) -> None:
    async with (
        running(broker.url, id="w1") as mesh,
        client_of(mesh) as http,
        events(http, "s") as stream,
    ):
        for number in (1, 2):
            await post(http, "s", message_id=f"m{number}", **SLOW)
        await stream.read(2)

        async def rows() -> list[Any]:
            found = await read(mesh)
            assert found.consumer is not None
            assert (found.unanswered, found.consumer.ack_pending, found.consumer.pending) == (2, 2, 0)
            return [
                (each.message_id, each.stage, each.worker_id, each.attempt, each.deliveries)
                for each in found.requests
            ]

        async def is_told() -> bool:
            # A worker writes down what it holds a moment after it has it.
            return await rows() == [("m1", "running", "w1", 1, 1), ("m2", "parked", "w1", None, 1)]

        await eventually(is_told)
        for number in (2, 1):
            await http.delete(f"/v1/sessions/s/messages/m{number}")
        await stream.read_finals(2)
        await eventually(lambda: is_empty(mesh))


async def is_empty(mesh: Mesh) -> bool:
    found = await read(mesh)
    return (found.unanswered, found.requests) == (0, ())


async def test_messages_that_wait_are_listed_oldest_first_and_never_what_they_say(
    broker: Broker, nats_client: Client, command: Command
) -> None:
    async with running(broker.url, role=STREAMS_ONLY, id="p") as mesh, client_of(mesh) as http:
        for number in range(3):
            await post(http, f"s{number}", "a secret of hers", message_id=f"m{number}")
        await nats_client.jetstream().publish("chat.workflow.execute.s0", b"\x1b[2Jgarbage")
        await nats_client.jetstream().publish("chat.workflow.execute.od$d", b"{}")
        await nats_client.jetstream().publish("chat.dead.s0", b"garbage")
        found = await read(mesh)
        assert [each.session_id for each in found.requests] == ["s0", "s1", "s2", "s0", "od$d"]
        assert [each.message_id for each in found.requests] == ["m0", "m1", "m2", None, None]
        assert {each.stage for each in found.requests} == {"waiting"}
        assert {(each.worker_id, each.deliveries) for each in found.requests} == {(None, None)}
        few = await read(mesh, limit=2)
        assert [each.message_id for each in few.requests] == ["m0", "m1"]
        assert (few.unanswered, few.dead_letters, few.consumer) == (5, 1, None)
        light = await read_queue(mesh.broker, Members(), limit=50, max_bytes=few.requests[0].size_bytes + 1)
        assert [each.message_id for each in light.requests] == ["m0", "m1"]
        shown, answer = await asyncio.gather(command.text("queue", "--limit", "4"), command.json("queue"))
    assert "5 messages unanswered, the oldest 4 shown; there is no consumer; 1 dead letter." in shown
    assert "(undecodable)" in shown
    assert "secret" not in shown + str(answer)
    assert "\x1b" not in shown
    fills = {each["stream"]: each for each in answer["streams"]}
    assert fills["WORKFLOW_REQUESTS"]["messages"] == 5
    assert 0 < fills["WORKFLOW_REQUESTS"]["ratio"] < 1
    assert len(answer["requests"]) == 5


async def test_message_of_an_erasing_is_told_as_one(broker: Broker) -> None:
    async with running(broker.url, role=STREAMS_ONLY) as mesh, client_of(mesh) as http:
        await post(http, "s", message_id="m")
        await http.delete("/v1/sessions/s")
        assert [each.erases for each in (await read(mesh)).requests] == [False, True]


W, LEASE = Token("w"), Lease("w", "b", 1, 3)


def members(state: State) -> Members:
    return Members((Member(HeartbeatMessage("worker", W, "", boot="b"), state, "", 0.0),))


@pytest.mark.parametrize(
    ("fields", "lease", "state", "told"),
    [
        (None, None, State.ALIVE, ("waiting", None, None, None)),
        (None, LEASE, State.ALIVE, ("parked", "w", None, 3)),
        (None, LEASE, State.SILENT, ("waiting", "w", None, 3)),
        ({}, LEASE, State.ALIVE, ("running", "w", 1, 3)),
        ({}, None, State.ALIVE, ("running", "w", 1, None)),
        ({}, LEASE, State.SILENT, ("waiting", "w", 1, 3)),
        ({"boot": "before"}, None, State.ALIVE, ("waiting", "w", 1, None)),
        ({"handed_over": True}, LEASE, State.ALIVE, ("parked", "w", 1, 3)),
        ({"message_id": "other"}, LEASE, State.ALIVE, ("parked", "w", None, 3)),
    ],
)
def test_stage_follows_from_claim_lease_and_who_lives(
    fields: dict[str, Any] | None, lease: Lease | None, state: State, told: tuple[Any, ...]
) -> None:
    standing = Standing()
    if fields is not None:
        standing = Standing(HeldClaim(Claim.decode(claim("s", **({"message_id": "m"} | fields))), 1))
    each = _with_holder(Unanswered(1, "s", "m", "", 0.0, 0), standing, lease, members(state))
    assert (each.stage, each.worker_id, each.attempt, each.deliveries) == told


async def test_leases_that_are_none_are_left_out(broker: Broker, nats_client: Client) -> None:
    ack = "$JS.ACK.WORKFLOW_REQUESTS.workflow-processor"
    subjects = [f"{ack}.2.7.1.1.0", f"{ack}.x.7.1.1.0", f"{ack}.1", f"{ack}.1.{'9' * 5000}.1.1.0", "chat.x"]
    subjects.append("$JS.ACK.hub.acc.WORKFLOW_REQUESTS.workflow-processor.4.9.1.1.0.r")
    async with running(broker.url, role=STREAMS_ONLY) as mesh:
        page = str({"worker_id": "w", "boot": "b", "leases": subjects}).replace("'", '"').encode()
        await nats_client.jetstream().publish("chat.worker.w.leases", page)
        await nats_client.jetstream().publish("chat.worker.v.leases", b"garbage")
        found = await mesh.broker.lease_book.read(max_pages=10, seconds=5)
    assert found == [Lease("w", "b", 7, 2), Lease("w", "b", 9, 4)]
