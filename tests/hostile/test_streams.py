"""What strangers write into the streams: claims, records, marks, stops, registry, heartbeats; and into our inboxes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.kernel import KernelEvent
from tests.hostile.support import (
    GARBAGE,
    claim,
    encode,
    good_message,
    is_queue_empty,
    metric,
    record,
    wrong_types,
)
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import client_of, pod_and_client, running
from tests.support.reading import events, post
from tests.support.waiting import eventually
from tests.support.watching import watching

pytestmark = pytest.mark.slow

HEADERS = [
    {"Status": "204"},
    {"Status": "404"},
    {"Status": "503"},
    {"Nats-Sequence": "x", "Nats-Last-Sequence": "y", "Nats-Num-Pending": "z"},
    {"Nats-Sequence": "1", "Nats-Subject": "chat.session.other.claim", "Nats-Time-Stamp": "never"},
    {"KV-Operation": "DEL", "Nats-Marker-Reason": "x"},
]

CLAIMS = [
    *GARBAGE.values(),
    *wrong_types(
        claim(), needed={"session_id", "message_id", "worker_id", "attempt", "base", "first", "offset"}
    ),
    encode(claim(offset=10**18, base=10**18)),
    encode(claim(first=10**18)),
    encode(claim()),
    encode(claim(message_id="elsewhere", offset=5, base=5, first=1)),
]


async def put(client: Client, subject: str, body: bytes, headers: dict[str, str] | None = None) -> None:
    await client.publish(subject, body, headers=headers)
    await client.flush()


async def test_claims_of_strangers_cost_no_answer(http: httpx.AsyncClient, nats_client: Client) -> None:
    """Between two messages, and before the first one."""
    await put(nats_client, "chat.session.s.claim", b"garbage")
    for number, body in enumerate(CLAIMS):
        await put(nats_client, "chat.session.s.claim", body)
        if number % 5 == 0 or number > len(CLAIMS) - 5:
            await good_message(http)
    await good_message(http)
    offsets = [entry.body["offset"] for entry in await stored.records(nats_client, "s")]
    assert offsets == list(range(1, len(offsets) + 1))


@pytest.mark.parametrize("body", [b"", b"garbage", encode(claim())], ids=["empty", "garbage", "well-formed"])
async def test_strangers_claim_in_mid_answer_fences_the_worker_and_the_answer_goes_on(
    http: httpx.AsyncClient, nats_client: Client, body: bytes
) -> None:
    async with events(http, "s") as stream:
        await post(http, "s", model="count", max_tokens=60, tokens_per_second=100)
        await stream.read(10)
        await put(nats_client, "chat.session.s.claim", body)
        reading = await stream.read_finals()
    assert reading.ids == list(range(61))
    assert not reading.named("reset")
    await eventually(lambda: is_queue_empty(nats_client))
    await good_message(http)


@pytest.mark.parametrize("is_before", [True, False], ids=["before the answer", "after its final"])
async def test_records_of_strangers_are_skipped_in_replays_and_cost_no_answer(
    http: httpx.AsyncClient, nats_client: Client, is_before: bool
) -> None:
    bodies = [*GARBAGE.values(), *wrong_types(record(), needed={"offset", "chunks", "token"})]
    if not is_before:
        await post(http, "s", model="count", max_tokens=3, message_id="m")
        await eventually(lambda: _has_final(nats_client, "m"))
    for body in bodies:
        await put(nats_client, "chat.session.s.transcript.m", body)
    answer = await post(http, "s", model="count", max_tokens=3, message_id="m")
    assert answer.status_code == 202
    async with events(http, "s", message_id="m") as stream:
        assert (await stream.read_finals()).ids == [0, 1, 2, 3]
    async with events(http, "s", **{"from": "start"}) as stream:
        assert (await stream.read_finals()).ids == [0, 1, 2, 3]
    rows = (await http.get("/v1/sessions/s/messages")).json()["messages"]
    assert [row["content"] for row in rows] == ["go", "1 2 3 "]
    assert (await http.get("/v1/sessions/s/messages/m")).status_code == 200
    await good_message(http)


async def test_stored_headers_that_look_like_the_brokers_hide_nothing(
    http: httpx.AsyncClient, nats_client: Client
) -> None:
    for number, headers in enumerate(HEADERS):
        session_id = f"s{number}"
        await good_message(http, session_id)
        for subject in (
            f"chat.session.{session_id}.claim",
            f"chat.session.{session_id}.transcript.x",
            f"chat.session.{session_id}.erased",
            f"chat.session.{session_id}.stop.x",
            f"chat.registry.{session_id}.q",
            "chat.pod.q.heartbeat",
            "chat.worker.q.heartbeat",
            f"chat.dead.{session_id}",
            f"chat.workflow.execute.{session_id}",
        ):
            await put(nats_client, subject, b"{}", headers)
            await put(nats_client, subject, b"", headers)
        await good_message(http, session_id)
        async with events(http, session_id, **{"from": "start"}) as stream:
            assert (await stream.read_finals(2)).ids == [0, 1, 2, 3] * 2
        assert len((await http.get(f"/v1/sessions/{session_id}/messages")).json()["messages"]) == 4
    assert (await http.get("/v1/sessions")).status_code == 200
    await eventually(lambda: is_queue_empty(nats_client))


async def test_process_starts_over_whatever_heartbeats_are_stored(
    broker: Broker, nats_client: Client, crashes: list[KernelEvent]
) -> None:
    async with running(broker.url, role="worker", id="first"):
        for number, body in enumerate(GARBAGE.values()):
            for role in ("pod", "worker"):
                for at, headers in enumerate(HEADERS):
                    await nats_client.publish(f"chat.{role}.q{number}-{at}.heartbeat", body, headers=headers)
        await nats_client.flush()
    async with pod_and_client(broker.url, "p", role="all") as (_, client):
        await good_message(client)
    assert not crashes, [(event.path, repr(event.error)) for event in crashes]


async def test_marks_of_erasure_that_are_none_hide_nothing_and_cost_no_answer(
    http: httpx.AsyncClient, nats_client: Client
) -> None:
    await good_message(http)
    for body in (*GARBAGE.values(), b'{"queue_seq":-1}', b'{"queue_seq":1e300}', b'{"queue_seq":"9"}'):
        await put(nats_client, "chat.session.s.erased", body)
    await good_message(http)
    assert len((await http.get("/v1/sessions/s/messages")).json()["messages"]) == 4


async def test_stops_of_strangers_stop_what_they_name_and_nothing_else(
    http: httpx.AsyncClient, nats_client: Client
) -> None:
    async with events(http, "s") as stream:
        await post(http, "s", model="count", max_tokens=60, tokens_per_second=150, message_id="m")
        await stream.read(3)
        for name in ("other", "a%b", "ünï", "x" * 200, "$"):
            for body in list(GARBAGE.values())[:5]:
                await put(nats_client, f"chat.session.s.stop.{name}", body)
                await put(nats_client, f"chat.session.{name}.stop.m", body)
        reading = await stream.read_finals()
    assert reading.ids == list(range(61))
    await good_message(http)


async def test_undecodable_registry_entries_are_counted_and_the_answer_comes(
    http: httpx.AsyncClient, nats_client: Client, logs: list[Any]
) -> None:
    bodies = [body for body in GARBAGE.values() if body] + [
        b'{"boot":%b}' % wrong for wrong in (b"null", b"5", b"[[]]", b"{}", b'{"a":[]}')
    ]
    async with events(http, "s") as stream:
        await post(http, "s", model="count", max_tokens=60, tokens_per_second=150)
        await stream.read(3)
        before = metric("chatmesh_errors_total", room="relay", kind="undecodable")
        for number, body in enumerate(bodies):
            await put(nats_client, f"chat.registry.s.q{number}", body)
        reading = await stream.read_finals()
    assert reading.ids == list(range(61))
    # One has an entry's form: the lone surrogate is none, and unknown fields are nobody's business.
    assert metric("chatmesh_errors_total", room="relay", kind="undecodable") == before + len(bodies)
    assert sum(line["event"] == "relay.undecodable" for line in logs) == len(bodies)
    async with events(http, "s") as stream:
        await post(http, "s", model="count", max_tokens=3)
        assert (await stream.read_finals()).ids == [0, 1, 2, 3]


@pytest.mark.parametrize("role", ["pod", "worker"])
async def test_undecodable_heartbeats_are_dropped_counted_and_logged(
    http: httpx.AsyncClient, nats_client: Client, logs: list[Any], role: str
) -> None:
    good = {f"{role}_id": "q", "timestamp": "2025-11-17T20:30:05Z", "active_connections": 1}
    bodies = [
        *GARBAGE.values(),
        *wrong_types(good, needed={f"{role}_id"}),
        *[encode(good | {"active_connections": wrong}) for wrong in ("x", -1, 1.5, [], 10**30)],
        *[encode(good | {"memory_usage_mb": wrong}) for wrong in ("x", [], True)],
        *[encode(good | {"status": wrong}) for wrong in (5, [])],
        *[encode(good | {"boot": wrong}) for wrong in (5, [])],
    ]
    # Workers are heard by the pod and by the worker, pods by the worker only.
    heard = len(bodies) * (2 if role == "worker" else 1)
    before = metric("chatmesh_errors_total", room="presence", kind="undecodable")
    for body in bodies:
        await put(nats_client, f"chat.{role}.q.heartbeat", body)
    await eventually(
        lambda: metric("chatmesh_errors_total", room="presence", kind="undecodable") >= before + heard
    )
    assert metric("chatmesh_errors_total", room="presence", kind="undecodable") == before + heard
    assert sum(line["event"] == "presence.undecodable" for line in logs) == heard
    await good_message(http)


@pytest.mark.usefixtures("patient_registry")
async def test_heartbeat_in_anothers_name_does_not_make_it_dead(
    broker: Broker, http: httpx.AsyncClient, nats_client: Client
) -> None:
    """The subject is what NATS permissions guard, so an id that is not the subject's is refused. The second one is heard
    by two."""
    before = metric("chatmesh_errors_total", room="presence", kind="undecodable")
    body = encode({"pod_id": "p", "boot": "another", "status": "stopped"})
    async with (
        events(http, "s") as stream,
        watching(nats_client, "chat.pod.p.response") as responses,
        watching(nats_client, "chat.session.s.broadcast") as broadcast,
    ):
        await eventually(lambda: stored.stored(nats_client, "CHAT_REGISTRY", "chat.registry.s.p"))
        await put(nats_client, "chat.pod.stranger.heartbeat", body)
        await put(nats_client, "chat.worker.p.heartbeat", body)
        await eventually(
            lambda: metric("chatmesh_errors_total", room="presence", kind="undecodable") == before + 3
        )
        await post(http, "s", model="count", max_tokens=3)
        assert (await stream.read_finals()).ids == [0, 1, 2, 3]
        await eventually(lambda: responses.has_final)
        assert not broadcast.messages


async def test_health_is_answered_whatever_is_asked(http: httpx.AsyncClient, nats_client: Client) -> None:
    for body in GARBAGE.values():
        for role in ("pod", "worker"):
            assert b"healthy" in (await nats_client.request(f"chat.{role}.p.health", body, timeout=5)).data
            for reply in (f"chat.{role}.p.health", "chat.workflow.execute.s", "chat.>", "a..b"):
                await nats_client.publish(f"chat.{role}.p.health", body, reply=reply)
    await nats_client.flush()
    await good_message(http)
    await eventually(lambda: is_queue_empty(nats_client))


async def test_replies_of_strangers_to_our_inboxes_break_nothing(
    broker: Broker, nats_client: Client, crashes: list[KernelEvent]
) -> None:
    """On a broker without permissions anybody may watch `_INBOX.>` and answer first."""
    bodies = [
        *list(GARBAGE.values()),
        b'{"seq":"x"}',
        b'{"error":5}',
        b'{"error":{"code":[]}}',
        b'{"stream":"x"}',
    ]
    headers = [None, {"Status": "100"}, {"Status": "x"}, {"Status": "204"}, {"Nats-Sequence": "x"}]
    inboxes: set[str] = set()

    async def answer(message: Any) -> None:
        if message.subject in inboxes or len(inboxes) > 40:
            return
        inboxes.add(message.subject)
        prefix, _, number = message.subject.rpartition(".")
        for body in bodies:
            for head in headers:
                ahead = str(int(number) + 1) if number.isdigit() else number
                await nats_client.publish(f"{prefix}.{ahead}", body, headers=head)
                await nats_client.publish(message.subject, body, reply="$JS.ACK.x.y", headers=head)

    async with (
        running(broker.url, "worker.ack_wait_seconds=1", role="all", id="p") as mesh,
        client_of(mesh) as client,
        events(client, "s") as stream,
    ):
        watch = await nats_client.subscribe("_INBOX.>", cb=answer)
        await nats_client.flush()
        await post(client, "s", model="count", max_tokens=40, tokens_per_second=100)
        reading = await stream.read_finals()
        await watch.unsubscribe()
        await nats_client.flush()
        assert reading.ids == list(range(41))
        await good_message(client)
    assert inboxes
    assert not crashes, [(event.path, repr(event.error)) for event in crashes]


async def _has_final(client: Client, message_id: str) -> bool:
    return any(piece["is_final"] for piece in await stored.chunks(client, "s", message_id))
