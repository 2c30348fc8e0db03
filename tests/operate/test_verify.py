"""`chatmesh verify`: a session that a mesh stored holds, and every damage done to it is found and placed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh import operate
from chatmesh.app import Mesh
from chatmesh.errors import ChatmeshError
from chatmesh.operate import Checked
from chatmesh.protocol.tokens import Token
from tests.operate.support import Start, chunk, finished, sha
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.processes import free_port
from tests.support.reading import events, post
from tests.support.stored import claims, records
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

S = Token("s")


@pytest.fixture
async def mesh(broker: Broker) -> AsyncIterator[Mesh]:
    async with running(broker.url, "default_model=echo") as mesh:
        yield mesh


@pytest.fixture
async def http(mesh: Mesh) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(mesh) as client:
        yield client


@pytest.fixture
async def answered(http: httpx.AsyncClient) -> None:
    """Two answers in the session, the second one under a claim of its own."""
    async with events(http, S) as stream:
        for number in (1, 2):
            assert (await post(http, S, "one two three", message_id=f"m{number}")).status_code == 202
            await stream.read_finals(number)


async def verified(mesh: Mesh) -> Checked:
    return await operate.verify(mesh.broker, S)


async def whole(client: Client, message_id: str = "x") -> dict[str, Any]:
    """An answer that would be lawful behind what is stored: `two` chunks in one record, with its digest."""
    last = (await records(client, S))[-1].body
    token = (await claims(client, S))[-1].seq
    chunks = [chunk(message_id, 0, "one "), chunk(message_id, 1, "two")]
    chunks[1] |= {"is_final": True, "metadata": {"finish_reason": "stop", "digest": sha("one two")}}
    head = {"session_id": S, "message_id": message_id, "offset": last["offset"] + 1, "attempt": 1}
    return head | {"token": token, "request": {"message": "go"}, "chunks": chunks}


async def store(client: Client, record: dict[str, Any]) -> int:
    """Past every fence, as only somebody with a raw client can."""
    subject = f"chat.session.{S}.transcript.{record['message_id']}"
    return (await client.jetstream().publish(subject, json.dumps(record).encode())).seq


@pytest.mark.usefixtures("answered")
async def test_session_that_a_mesh_answered_holds_message_by_message(mesh: Mesh, nats_client: Client) -> None:
    await store(nats_client, await whole(nats_client))
    checked = await verified(mesh)
    assert checked.violations == ()
    assert [message.message_id for message in checked.messages] == ["m1", "m2", "x"]
    assert {message.verdict for message in checked.messages} == {"holds"}
    assert {message.finish_reason for message in checked.messages} == {"stop"}
    assert [message.chunks for message in checked.messages] == [4, 4, 2]
    assert checked.messages[0].computed == sha("one two three")
    assert checked.messages[2].digest == checked.messages[2].computed == sha("one two")


async def offset_twice(client: Client, record: dict[str, Any]) -> None:
    record["offset"] -= 1


async def offset_gap(client: Client, record: dict[str, Any]) -> None:
    record["offset"] += 1


async def fence_back(client: Client, record: dict[str, Any]) -> None:
    record["token"] = (await claims(client, S))[0].seq


async def second_final(client: Client, record: dict[str, Any]) -> None:
    again = await whole(client, "m1")
    again["chunks"] = [again["chunks"][1] | {"chunk_id": 4}]
    record |= again


async def no_final(client: Client, record: dict[str, Any]) -> None:
    record["chunks"][1]["is_final"] = False


async def chunk_missing(client: Client, record: dict[str, Any]) -> None:
    record["chunks"][1]["chunk_id"] = 2


async def chunk_twice(client: Client, record: dict[str, Any]) -> None:
    record["chunks"][1]["chunk_id"] = 0


async def text_changed(client: Client, record: dict[str, Any]) -> None:
    record["chunks"][0]["chunk"] = "ONE "


async def another_session(client: Client, record: dict[str, Any]) -> None:
    record["session_id"] = "t"


DAMAGES = {
    offset_twice: "offset",
    offset_gap: "offset",
    fence_back: "fence",
    second_final: "final",
    no_final: "final",
    chunk_missing: "chunk_id",
    chunk_twice: "chunk_id",
    text_changed: "digest",
    another_session: "record",
}


@pytest.mark.usefixtures("answered")
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
async def test_damage_to_a_stored_session_is_found_and_placed(
    mesh: Mesh, nats_client: Client, damage: Any
) -> None:
    record = await whole(nats_client)
    await damage(nats_client, record)
    seq = await store(nats_client, record)
    (violation,) = (await verified(mesh)).violations
    assert violation.kind == DAMAGES[damage]
    assert record["message_id"] in violation.where
    assert damage is no_final or str(seq) in violation.where


@pytest.mark.usefixtures("answered")
async def test_record_that_can_not_be_read_is_found(mesh: Mesh, nats_client: Client) -> None:
    await nats_client.jetstream().publish(f"chat.session.{S}.transcript.m1", b"garbage")
    (violation,) = (await verified(mesh)).violations
    assert violation.kind == "record"


@pytest.mark.usefixtures("answered")
async def test_record_under_a_claim_that_was_taken_over_is_found(mesh: Mesh, nats_client: Client) -> None:
    """Its token is the highest that a record had, but no longer the last claim's."""
    record = await whole(nats_client)
    claim = (await claims(nats_client, S))[-1]
    await nats_client.jetstream().publish(claim.subject, claim.data)
    await store(nats_client, record)
    (violation,) = (await verified(mesh)).violations
    assert (violation.kind, violation.message_id) == ("fence", "x")


async def test_answers_that_run_or_wait_are_no_violation(mesh: Mesh, http: httpx.AsyncClient) -> None:
    slow = {"model": "count", "max_tokens": 1000, "tokens_per_second": 20}
    async with events(http, S) as stream:
        for number in (1, 2):
            await post(http, S, message_id=f"m{number}", **slow)
        await stream.read(3)
        checked = await verified(mesh)
        assert checked.holds
        assert [(message.message_id, message.verdict) for message in checked.messages] == [
            ("m1", "runs"),
            ("m2", "runs"),
        ]
        await http.delete(f"/v1/sessions/{S}/messages/m2")
        await http.delete(f"/v1/sessions/{S}/messages/m1")
        await stream.read_finals(2)
    checked = await verified(mesh)
    assert checked.violations == ()
    assert {message.finish_reason for message in checked.messages} == {"cancelled"}


async def test_session_holds_at_every_moment_of_its_answers(mesh: Mesh, http: httpx.AsyncClient) -> None:
    async def ask() -> None:
        for number in range(10):
            await http.post(
                f"/v1/sessions/{S}/messages",
                json={"message": "a b c", "message_id": f"m{number}"},
                headers={"Accept": "text/event-stream"},
            )

    looks = 0
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(ask())
        while not asking.done():
            if (await http.get(f"/v1/sessions/{S}/messages")).status_code == 200:
                looks += 1
                assert (await verified(mesh)).violations == ()
    assert looks > 1


@pytest.mark.usefixtures("answered")
async def test_session_that_was_erased_and_begun_anew_holds(mesh: Mesh, http: httpx.AsyncClient) -> None:
    await http.delete(f"/v1/sessions/{S}")

    async def is_erased() -> bool:
        checked = await verified(mesh)
        assert checked.violations == ()
        return checked.erased == 2 and not checked.messages

    await eventually(is_erased)
    async with events(http, S) as stream:
        await post(http, S, "again", message_id="m1")
        await stream.read_finals(1)
    checked = await verified(mesh)
    assert checked.violations == ()
    assert [message.message_id for message in checked.messages] == ["m1"]


async def test_what_is_to_be_erased_is_no_part_of_the_session_any_more(
    broker: Broker, nats_client: Client
) -> None:
    """Its records are there still, since no worker is: an answer among them that will never end is no violation."""
    async with running(broker.url, "default_model=echo") as mesh, client_of(mesh) as http:
        async with events(http, S) as stream:
            await post(http, S, "one two", message_id="m1")
            await stream.read_finals(1)
        await store(nats_client, await whole(nats_client) | {"chunks": [chunk("x", 0, "begun")]})
        assert [violation.kind for violation in (await verified(mesh)).violations] == ["final"]
    async with running(broker.url, role="pod") as mesh, client_of(mesh) as http:
        await http.delete(f"/v1/sessions/{S}")
        checked = await verified(mesh)
        assert (checked.violations, checked.messages, checked.records) == ((), (), 0)


async def test_session_that_nobody_knows_is_told(mesh: Mesh) -> None:
    with pytest.raises(ChatmeshError, match="nobody knows session s"):
        await verified(mesh)


@pytest.mark.usefixtures("answered")
async def test_command_says_what_holds_what_does_not_and_where(
    chatmesh: Start, broker: Broker, nats_client: Client
) -> None:
    server = ("--set", f"nats.servers={broker.url}")
    code, process = await finished(chatmesh, "verify", S, *server)
    assert code == 0, process.report()
    assert process.stdout.splitlines()[1].split()[:5] == ["m1", "1", "2", "4", "stop"]
    assert "Session s holds:" in process.stdout
    record = await whole(nats_client)
    record["offset"] += 1
    seq = await store(nats_client, record)
    code, process = await finished(chatmesh, "verify", S, *server)
    assert code == 1
    where = f"message x, offset {record['offset']}, stream sequence {seq}"
    assert f"offset: {where}: offset {record['offset'] - 1} is missing before it" in process.stdout
    assert "Session s is violated in 1 places" in process.stdout
    code, process = await finished(chatmesh, "verify", S, "--json", *server)
    assert code == 1
    answer = json.loads(process.stdout)
    assert not answer["holds"]
    assert [message["verdict"] for message in answer["messages"]] == ["holds", "holds", "violated"]
    assert answer["violations"][0]["where"] == where


@pytest.mark.usefixtures("mesh")
async def test_command_explains_what_it_can_not_check(chatmesh: Start, broker: Broker) -> None:
    code, process = await finished(chatmesh, "verify", "nobody", "--set", f"nats.servers={broker.url}")
    assert (code, process.stdout) == (1, "")
    assert "nobody knows session nobody" in process.stderr
    code, process = await finished(chatmesh, "verify", "a.b")
    assert code == 2
    assert "SESSION" in process.stderr
    away = ("--set", f"nats.servers=nats://127.0.0.1:{free_port()}", "--set", "nats.connect_seconds=1")
    code, process = await finished(chatmesh, "verify", S, *away)
    assert code == 3


async def test_permission_that_is_missing_is_named(chatmesh: Start, tmp_path: Path) -> None:
    allowed = {"publish": {"allow": ["nothing"]}, "subscribe": {"allow": ["_INBOX.ops.>"]}}
    users = {"users": [{"user": "ann", "password": "x", "permissions": allowed}]}
    broker = await Broker.start(tmp_path, config_extra=f"authorization {json.dumps(users)}\n")
    login = ("--set", "nats.user=ann", "--set", "nats.password=x", "--set", f"nats.servers={broker.url}")
    try:
        code, process = await finished(chatmesh, "verify", S, *login, "--set", "id=ops")
        assert code == 4
        assert "may not publish to $JS.API.STREAM.INFO.*" in process.stderr
        code, process = await finished(chatmesh, "verify", S, *login, "--set", "id=other")
        assert code == 4
        assert "may not subscribe to _INBOX.other.>" in process.stderr
    finally:
        broker.stop()
