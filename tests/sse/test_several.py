"""Several sessions on one connection: each as whole as on one of its own, whatever becomes of the connection or of the others."""

from __future__ import annotations

import random
import time

import httpx
import pytest
from nats.aio.client import Client

from tests.auth.support import asking, bearer, say, token
from tests.sse.raw import most_buffered, raw_reader
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.reading import Reading, events, events_of_several, post
from tests.support.waiting import eventually

SEED = 20261126
LONG = 1500  # chunks of about 350 bytes, in each of three sessions: far more than the kernel's buffers hold


def ids(reading: Reading, session: str) -> list[int]:
    return [chunk["chunk_id"] for chunk in reading.chunks if chunk["session_id"] == session]


def places(reading: Reading) -> list[str]:
    """The position in each session, as of the last event."""
    return reading.position.split(",")


async def opening(client: httpx.AsyncClient, *sessions: str) -> str:
    """The `id` of a stream's first block."""
    async with events_of_several(client, *sessions) as stream:
        async for line in stream.response.aiter_lines():
            if line.startswith("id: "):
                return line.removeprefix("id: ")
    raise AssertionError("no opening block")


async def count(client: httpx.AsyncClient, session: str, tokens: int, pace: float = 0) -> None:
    answer = await post(client, session, model="count", max_tokens=tokens, tokens_per_second=pace)
    assert answer.status_code == 202


async def health(nats_client: Client, pod: str) -> bytes:
    return bytes((await nats_client.request(f"chat.pod.{pod}.health", b"", timeout=10)).data)


async def test_two_sessions_on_one_connection_are_whole_in_order_and_counted_as_one(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "x", role="all") as (_, client),
        events_of_several(client, "a", "b") as stream,
    ):
        await count(client, "a", 40, 400)
        await count(client, "b", 40, 400)
        reading = await stream.read_finals(2)
        assert b'"active_connections":1' in await health(nats_client, "x")
        told = [await stored.chunks(nats_client, session) for session in ("a", "b")]
    assert ids(reading, "a") == ids(reading, "b") == list(range(41))
    assert [[c for c in reading.chunks if c["session_id"] == session] for session in ("a", "b")] == told
    assert len(set(map(id, reading.events))) == len({event.id for event in reading.events})


async def test_each_position_is_one_that_its_own_session_goes_on_from(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        async with events_of_several(client, "a", "b") as stream:
            for session in ("a", "b"):
                await count(client, session, 20, 400)
            await stream.read(15)
        for number, session in enumerate(("a", "b")):
            seen = ids(stream.reading, session)
            async with events(
                client, session, reading=Reading(position=places(stream.reading)[number])
            ) as one:
                assert seen + (await one.read_finals()).ids == list(range(21))
        # Any of them, in any order, with others beside it that begin elsewhere.
        wishes = [f"b:{places(stream.reading)[1]}", "nobody", "a:start"]
        async with events_of_several(client, *wishes) as again:
            reading = await again.read_finals(2)
    assert ids(stream.reading, "b") + ids(reading, "b") == list(range(21))
    assert ids(reading, "a") == list(range(21))


@pytest.mark.slow
async def test_last_id_alone_goes_on_in_every_session_over_60_cuts_at_two_pods(broker: Broker) -> None:
    """What a browser's EventSource does: the same address again, and the last `id` that it saw."""
    chance = random.Random(SEED)  # noqa: S311 - repeatable, no secret
    sessions = ("a", "b", "c")
    reading, number = Reading(), 0
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
    ):
        reading.position = await opening(two, *sessions)  # cut before anything was said
        # This one has ended before anybody comes back: without its position nobody would hear of it.
        async with events(one, "a") as alone:
            await count(one, "a", 5)
            await alone.read_finals()
        for session in sessions[1:]:
            await count(one, session, 300, 200)
        while len(reading.finals) < len(sessions):
            async with events_of_several((one, two)[number % 2], *sessions, reading=reading) as stream:
                for _ in range(chance.randrange(9) if number < 60 else 10_000):
                    if len(reading.finals) == len(sessions):
                        break
                    await stream.next()
            number += 1
    assert number > 30
    assert ids(reading, "a") == list(range(6))
    assert ids(reading, "b") == ids(reading, "c") == list(range(301))
    assert not reading.named("reset")


@pytest.mark.slow
async def test_position_that_is_not_known_resets_its_session_alone(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        async with events_of_several(client, "a", "b") as stream:
            for session in ("a", "b"):
                await count(client, session, 3)
            await stream.read_finals(2)
        at_a, at_b = places(stream.reading)
        async with events_of_several(client, f"a:{at_a}", f"b:{at_a}") as again:
            reading = await again.read_finals()
            assert reading.named("reset") == [{"reason": "position_unknown", "session_id": "b"}]
            assert (ids(reading, "a"), ids(reading, "b")) == ([], [0, 1, 2, 3])
            assert places(reading) == [at_a, at_b]
        # An id of another request is a position of none of them.
        async with events_of_several(client, "a", "b", reading=Reading(position=at_a)) as stray:
            reading = await stray.read_finals(2)
    assert sorted(told["session_id"] for told in reading.named("reset")) == ["a", "b"]
    assert ids(reading, "a") == ids(reading, "b") == [0, 1, 2, 3]


@pytest.mark.slow
async def test_session_that_is_erased_is_named(broker: Broker) -> None:
    async with (
        pod_and_client(broker.url, "x", role="all") as (_, client),
        events_of_several(client, "a", "b") as stream,
    ):
        for session in ("a", "b"):
            await count(client, session, 3)
        reading = await stream.read_finals(2)
        assert (await client.delete("/v1/sessions/a")).status_code == 202
        await stream.next()
        await count(client, "b", 3)
        await stream.read_finals(3)
    assert reading.named("reset") == [{"reason": "session_erased", "session_id": "a"}]
    assert ids(reading, "b") == [0, 1, 2, 3] * 2


@pytest.mark.parametrize(
    ("sessions", "code"),
    [
        ([], "invalid_sessions"),
        (["a", "a:start"], "invalid_sessions"),
        ([f"s{number}" for number in range(33)], "invalid_sessions"),
        (["a", "b.c"], "invalid_id"),
    ],
)
@pytest.mark.slow
async def test_sessions_that_are_none_too_many_or_twice_there_are_refused(
    broker: Broker, sessions: list[str], code: str
) -> None:
    async with pod_and_client(broker.url, "x") as (_, client):
        answer = await client.get("/v1/events", params=[("session", session) for session in sessions])
        assert (answer.status_code, answer.json()["code"]) == (422, code)


@pytest.mark.slow
async def test_32_sessions_with_long_names_and_positions_fit_into_a_request(broker: Broker) -> None:
    sessions = [f"{number:02}".ljust(128, "x") for number in range(32)]
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        async with events_of_several(client, *sessions) as stream:
            for session in sessions:
                await count(client, session, 2)
            await stream.read_finals(32)
        wishes = [f"{session}:{at}" for session, at in zip(sessions, places(stream.reading), strict=True)]
        async with events_of_several(
            client, *wishes, reading=Reading(position=stream.reading.position)
        ) as again:
            await count(client, sessions[9], 2)
            assert {chunk["session_id"] for chunk in (await again.read_finals()).chunks} == {sessions[9]}


@pytest.mark.slow
async def test_session_of_somebody_else_is_refused_as_on_a_connection_of_its_own(broker: Broker) -> None:
    async with asking(broker.url, id="p1") as (_, client):
        await say(client, "alice", "hers")
        await say(client, "bob", "his")
        headers = bearer(token("bob"))
        alone = await client.get("/v1/sessions/hers/events", headers=headers)
        asked = [("session", "his"), ("session", "hers"), ("session", "nobodys")]
        beside = await client.get("/v1/events", params=asked, headers=headers)
        assert alone.status_code == beside.status_code == 404
        told, more = alone.json(), beside.json()
        assert more.pop("session_id") == "hers"
        assert {**told, "request_id": ""} == {**more, "request_id": ""}
        assert (await client.get("/v1/events?session=his")).status_code == 401
        unread = bearer(token("bob", scope="operate"))
        assert (await client.get("/v1/events?session=his", headers=unread)).json()["code"] == "missing_scope"
        async with events_of_several(client, "his:start", "nobodys", headers=headers) as stream:
            await stream.read_finals()
            # Alice begins the one that Bob waits for: he hears nothing of it, and when he comes back he is told.
            await say(client, "alice", "nobodys")
            reading = await stream.read_all()
        assert {chunk["session_id"] for chunk in reading.chunks} == {"his"}
        assert reading.named("drain") == []
        asked = [("session", "his"), ("session", "nobodys")]
        assert (await client.get("/v1/events", params=asked, headers=headers)).json()[
            "session_id"
        ] == "nobodys"


@pytest.mark.slow
async def test_slow_reader_of_several_costs_its_connection_only_and_one_cap_for_all(
    broker: Broker, nats_client: Client
) -> None:
    most, sessions = 16_384, ("a", "b", "c")
    one_record = 100 * 500
    path = "/v1/events?" + "&".join(f"session={session}" for session in sessions)
    async with pod_and_client(broker.url, "x", f"sse.max_buffer_bytes={most}", role="all") as (mesh, client):
        assert mesh.server is not None
        async with (
            raw_reader(mesh.server.url, path) as slow,
            events_of_several(client, *sessions) as fast,
        ):
            for session in sessions:
                await count(client, session, LONG)
            whole = await fast.read_finals(3)
            assert 0 < most_buffered() <= most + one_record
            while slow.received.count(b'"is_final":true') < 3:
                for _ in range(20):
                    await slow.read()
                    if slow.received.endswith(b"}\n\n\r\n"):
                        break
                assert most_buffered() <= most + one_record
        for session in sessions:
            transcript = await stored.chunks(nats_client, session)
            assert [chunk for chunk in slow.chunks if chunk["session_id"] == session] == transcript
            assert ids(whole, session) == list(range(LONG + 1))


@pytest.mark.slow
async def test_reader_who_left_is_forgotten_in_each_session(broker: Broker, nats_client: Client) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        async with events_of_several(client, "a", "b") as stream:
            await count(client, "a", 500, 500)
            await stream.next()

        async def is_gone() -> bool:
            return b'"active_connections":0' in await health(nats_client, "x")

        await eventually(is_gone)
        lines = (await client.get("/metrics")).text.splitlines()
        assert "chatmesh_readers 0.0" in lines


@pytest.mark.slow
async def test_pod_that_leaves_says_so_once_and_all_go_on_elsewhere(broker: Broker) -> None:
    sessions = ("a", "b", "c")
    reading = Reading()
    async with running(broker.url, role="worker", id="w"), pod_and_client(broker.url, "pod-2") as (_, other):
        async with (
            pod_and_client(broker.url, "pod-1") as (leaving, client),
            events_of_several(client, *sessions, reading=reading) as stream,
        ):
            for session in sessions:
                await count(other, session, 200, 100)
            await stream.read(30)
            leaving.tree.drain()
            await stream.read_all()
        assert reading.named("drain") == [{"reason": "leaving"}]
        assert reading.events[-1].event == "drain"
        assert 0 < len(reading.chunks) < 600
        async with events_of_several(other, *sessions, reading=reading) as rest:
            await rest.read_finals(3)
    for session in sessions:
        assert ids(reading, session) == list(range(201))


@pytest.mark.slow
async def test_past_max_connections_each_session_counts(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", "sse.max_connections=2", role="all") as (_, client):
        answer = await client.get("/v1/events?session=a&session=b&session=c")
        assert (answer.status_code, answer.text.partition(":")[0]) == (200, "retry")
        async with events_of_several(client, "a", "b") as stream:
            await count(client, "b", 2)
            assert ids(await stream.read_finals(), "b") == [0, 1, 2]
            alone = await client.get("/v1/sessions/c/events")
            assert alone.text.partition(":")[0] == "retry"


@pytest.mark.slow
async def test_token_that_ends_is_said_once(broker: Broker) -> None:
    async with asking(broker.url, id="p1") as (_, client):
        await say(client, "alice", "a")
        headers = bearer(token("alice", exp=int(time.time()) + 6))
        async with events_of_several(client, "a:start", "b", headers=headers) as stream:
            reading = await stream.read_all()
    assert reading.named("drain") == [{"reason": "token_expired"}]
