"""One address, one session, one user and one tenant get so much and no more; the others get theirs all the same."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client import REGISTRY

from chatmesh.app import Mesh
from chatmesh.config import load
from chatmesh.errors import ChatmeshError
from tests.auth.support import HS, bearer, token
from tests.auth.support import asking as asking_slowly
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import events, post
from tests.support.waiting import eventually

SLOW: dict[str, Any] = {"model": "count", "tokens_per_second": 5}


def asking(
    url: str, *settings: str, **more: Any
) -> AbstractAsyncContextManager[tuple[Mesh, httpx.AsyncClient]]:
    """Answers that still run are handed over at its end, and not waited for."""
    return asking_slowly(url, "worker.drain_seconds=0.1", *settings, **more)


def limited(name: str) -> float:
    return REGISTRY.get_sample_value("chatmesh_limited_total", {"limit": name}) or 0.0


async def say(
    client: httpx.AsyncClient, user: str, session: str, tenant: str = "acme", **more: Any
) -> httpx.Response:
    body: dict[str, Any] = {"message": "hi", "context": SLOW} | more
    headers = bearer(token(user, tenant=tenant))
    return await client.post(f"/v1/sessions/{session}/messages", json=body, headers=headers)


def refused(answer: httpx.Response, code: str) -> bool:
    if answer.status_code == 202:
        return False
    assert (answer.status_code, answer.json()["code"]) == (429, code), answer.text
    assert int(answer.headers["Retry-After"]) > 0
    return True


async def test_user_who_says_too_much_in_a_minute_waits_and_others_do_not(broker: Broker) -> None:
    before = limited("user_rate")
    async with asking(broker.url, "limits.user_messages_per_minute=3") as (_, client):
        echo = {"context": {"model": "echo"}}
        answers = [await say(client, "alice", "a", message_id=f"m{number}", **echo) for number in range(5)]
        assert [refused(answer, "rate_limited") for answer in answers] == [False] * 3 + [True] * 2
        assert not refused(await say(client, "bob", "b", **echo), "rate_limited")
        assert not refused(await say(client, "alice", "c", tenant="other", **echo), "rate_limited")
        # What was accepted before is recognised all the same, and only by its owner.
        again = await say(client, "alice", "a", message_id="m1", **echo)
        assert (again.status_code, again.json()["duplicate"]) == (202, True)
    assert limited("user_rate") >= before + 2


async def test_many_at_once_are_no_more_than_in_a_row_and_what_was_not_accepted_does_not_count(
    broker: Broker,
) -> None:
    async with asking(broker.url, "limits.user_messages_per_minute=3", "limits.tenant_answers=9") as (
        _,
        client,
    ):
        echo = {"context": {"model": "echo"}}
        # Taken and given back: a repetition is nothing new.
        for _ in range(6):
            await say(client, "alice", "a", message_id="m", **echo)
        answers = await asyncio.gather(
            *(say(client, "alice", f"s{number}", message_id="m", **echo) for number in range(20))
        )
        assert sum(not refused(answer, "rate_limited") for answer in answers) == 2


async def test_tenant_that_says_too_much_in_a_minute_waits_whoever_speaks(broker: Broker) -> None:
    async with asking(broker.url, "limits.tenant_messages_per_minute=2") as (_, client):
        answers = [await say(client, user, user, context={"model": "echo"}) for user in ("a", "b", "c")]
        assert [refused(answer, "rate_limited") for answer in answers] == [False, False, True]
        openai = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
        answer = await client.post("/v1/chat/completions", json=openai, headers=bearer(token("d")))
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limited")
        assert not refused(await say(client, "a", "z", tenant="other"), "rate_limited")


async def test_users_answers_are_counted_over_all_pods_and_free_when_they_end(broker: Broker) -> None:
    limit = "limits.user_answers=2"
    async with (
        asking(broker.url, limit, id="one") as (_, one),
        asking(broker.url, limit, role="pod", id="two") as (_, two),
    ):
        assert not refused(await say(one, "alice", "a", message_id="m"), "too_many_answers")
        assert not refused(await say(one, "alice", "b"), "too_many_answers")
        assert refused(await say(one, "alice", "c"), "too_many_answers")

        async def is_refused_there() -> bool:
            return refused(await say(two, "alice", "a"), "too_many_answers")

        await eventually(is_refused_there)
        assert not refused(await say(two, "bob", "d"), "too_many_answers")
        await one.delete("/v1/sessions/a/messages/m", headers=bearer(token("alice")))

        async def is_taken_again() -> bool:
            return not refused(await say(two, "alice", "e"), "too_many_answers")

        await eventually(is_taken_again)


@pytest.mark.slow
async def test_noisy_tenant_leaves_room_for_the_others(broker: Broker) -> None:
    """Two workers' slots, of which one tenant gets one: the quiet one is answered while the noisy one floods."""
    settings = ("limits.tenant_answers=1", "worker.concurrency=2")
    async with asking(broker.url, *settings) as (_, client):
        floods = [await say(client, "noisy", f"n{number}", tenant="loud") for number in range(20)]
        assert sum(not refused(answer, "too_many_answers") for answer in floods) == 1
        answer = await client.post(
            "/v1/sessions/q/messages",
            json={"message": "quiet words", "context": {"model": "echo"}},
            headers=bearer(token("quiet")) | {"Accept": "text/event-stream"},
        )
        assert '"finish_reason":"stop"' in answer.text


async def test_stranger_at_their_limit_learns_nothing_of_a_session(broker: Broker) -> None:
    async with asking(broker.url, "limits.user_messages_per_minute=1") as (_, client):
        await say(client, "alice", "a", message_id="m", context={"model": "echo"})
        await say(client, "mallory", "own", context={"model": "echo"})
        known = await say(client, "mallory", "a", message_id="m", context={"model": "echo"})
        unknown = await say(client, "mallory", "nobodys", message_id="m", context={"model": "echo"})
        assert known.status_code == unknown.status_code == 429
        assert {**known.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}


async def test_session_with_all_its_readers_tells_the_next_one_to_come_back(broker: Broker) -> None:
    async with (
        running(broker.url, "limits.readers_per_session=2") as mesh,
        client_of(mesh) as client,
        events(client, "s"),
        events(client, "s"),
    ):
        answer = await client.get("/v1/sessions/s/events")
        assert answer.status_code == 200
        assert "retry:" in answer.text
        assert "id:" not in answer.text
        async with events(client, "other") as reader:
            await post(client, "other", model="echo")
            await reader.read_finals()


async def test_address_with_too_many_connections_is_told_so_and_past_twice_as_many_cut(
    broker: Broker,
) -> None:
    before = limited("address")
    async with running(broker.url, "limits.connections_per_address=4") as mesh, AsyncExitStack() as stack:
        assert mesh.server is not None
        place = urlsplit(mesh.server.url)
        idle = []

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            stack.callback(writer.close)
            return reader, writer

        for _ in range(4):
            idle += [await connect()]
        reader, writer = await connect()
        writer.write(b"GET /v1/sessions HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert b" 429 " in head.split(b"\r\n")[0]
        assert b"close" in head.lower()
        reader, writer = await connect()
        writer.write(b"GET /v1/sessions/s/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        body = await asyncio.wait_for(reader.read(), 10)
        assert b" 200 " in body.split(b"\r\n")[0]
        assert b"retry:" in body
        for _ in range(8):
            idle += [await connect()]
        reader, _ = idle[-1]
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 10)
        for _, writer in idle:
            writer.close()

        async def is_served() -> bool:
            reader, writer = await connect()
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return b" 200 " in await asyncio.wait_for(reader.read(), 10)

        await eventually(is_served)
    assert limited("address") >= before + 3


async def test_history_longer_than_the_limit_is_refused(broker: Broker) -> None:
    async with running(broker.url, "limits.history_messages=2") as mesh, client_of(mesh) as client:
        said = [{"role": "user", "content": "hi"}] * 3
        body = {"message": "hi", "context": {"model": "echo", "conversation_history": said}}
        answer = await client.post("/v1/sessions/s/messages", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "history_too_long")
        openai = {"model": "echo", "messages": [*said, {"role": "user", "content": "now"}]}
        answer = await client.post("/v1/chat/completions", json=openai)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "history_too_long")
        said.pop()
        assert (await client.post("/v1/sessions/s/messages", json=body)).status_code == 202


@pytest.mark.parametrize("key", ["user_messages_per_minute", "tenant_answers"])
def test_limits_of_callers_need_callers(key: str) -> None:
    with pytest.raises(ChatmeshError, match=f"limits.{key}"):
        load(None, environ={}, overrides=[f"limits.{key}=5"], role="pod", id="me")
    assert load(None, environ={}, overrides=[*HS, f"limits.{key}=5"], role="pod", id="me")
