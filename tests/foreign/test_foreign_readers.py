"""Readers of a foreign worker's answer who are not there yet, or take it slowly. No transcript stands behind it, so whatever
they are not shown is lost: nothing may be, or the connection says so by its end."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.hub.following import Follower
from chatmesh.hub.hub import Hub
from chatmesh.ingress.intake import Intake
from tests.foreign.peers import answer, batch, chunk, foreign_worker, plain
from tests.hostile.support import metric
from tests.sse.raw import all_buffered, raw_reader
from tests.support.broker import Broker
from tests.support.live import Live
from tests.support.mesh import pod_and_client
from tests.support.reading import events, events_of_several, post
from tests.support.waiting import eventually

RESPONSE = "chat.pod.pod-1.response"


def dropped() -> float:
    return metric("chatmesh_dropped_total", reason="slow_reader")


@pytest.fixture
def came(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The text of every foreign chunk that has come to the pod so far."""
    texts: list[str] = []
    on_foreign = Hub.on_foreign

    def noting(self: Hub, piece: Any) -> bool:
        texts.append(piece.chunk)
        return on_foreign(self, piece)

    monkeypatch.setattr(Hub, "on_foreign", noting)
    return texts


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """No reader goes on behind its opening block before it is set."""
    gate = asyncio.Event()
    advance = Follower.advance

    async def waiting(self: Follower, following: Any) -> None:
        await gate.wait()
        await advance(self, following)

    monkeypatch.setattr(Follower, "advance", waiting)
    return gate


@pytest.fixture
def answered_at_once(monkeypatch: pytest.MonkeyPatch, came: list[str]) -> None:
    """The whole answer is there before the pod has heard that its request was stored."""
    accept = Intake.accept

    async def waiting(self: Intake, *arguments: Any, **more: Any) -> Any:
        accepted = await accept(self, *arguments, **more)
        await eventually(lambda: len(came) == 5)
        return accepted

    monkeypatch.setattr(Intake, "accept", waiting)


# --- on the way to being live --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", [{}, {"message_id": "msg_abc123"}], ids=["session", "message"])
@pytest.mark.parametrize("subject", [RESPONSE, "chat.session.s.broadcast"])
async def test_what_comes_behind_the_opening_block_is_shown(
    broker: Broker,
    nats_client: Client,
    came: list[str],
    late: asyncio.Event,
    subject: str,
    query: dict[str, str],
) -> None:
    chunks = answer("s", 10)
    async with pod_and_client(broker.url, "pod-1") as (_, client), events(client, "s", **query) as stream:
        for piece in (chunks[0], chunks[2], chunks[1], *chunks[3:], chunks[4]):
            await nats_client.publish(subject, plain(piece))
        await eventually(lambda: len(came) == 11)
        late.set()
        reading = await stream.read_finals()
    assert reading.chunks == chunks


async def test_what_comes_behind_the_opening_block_of_several_sessions_is_shown(
    broker: Broker, nats_client: Client, came: list[str], late: asyncio.Event
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1") as (_, client),
        events_of_several(client, "a", "b") as stream,
    ):
        for session_id in "ab":
            for piece in answer(session_id, 3):
                await nats_client.publish(RESPONSE, plain(piece))
        await eventually(lambda: len(came) == 6)
        late.set()
        reading = await stream.read_finals(2)
    assert sorted((piece["session_id"], piece["chunk_id"]) for piece in reading.chunks) == [
        *[("a", number) for number in range(3)],
        *[("b", number) for number in range(3)],
    ]


async def test_chunk_that_is_published_as_soon_as_the_stream_is_open_is_shown(
    broker: Broker, nats_client: Client
) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        for number in range(25):
            async with events(client, f"s{number}") as stream:
                await nats_client.publish(RESPONSE, plain(chunk(f"s{number}", 0, is_final=True)))
                assert (await stream.read_finals()).ids == [0]


TEXT = "w0 w1 w2 w3 w4 "


def said_in(answer: httpx.Response, field: str) -> str:
    """Whatever the format: the strings of the field that has the text."""
    return "".join(re.findall(rf'"{field}": ?"([^"]*)"', answer.text))


async def inline(client: httpx.AsyncClient) -> str:
    answer = await client.post(
        "/v1/sessions/s/messages", json={"message": "Hello"}, headers={"Accept": "text/event-stream"}
    )
    return said_in(answer, "chunk")


async def completed(client: httpx.AsyncClient) -> str:
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}]}
    answer = await client.post("/v1/chat/completions", json=body)
    return str(answer.json()["choices"][0]["message"]["content"])


async def completing(client: httpx.AsyncClient) -> str:
    body = {"model": "gpt-4", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    answer = await client.post("/v1/chat/completions", json=body)
    return said_in(answer, "content")


async def responding(client: httpx.AsyncClient) -> str:
    body = {"model": "gpt-4", "stream": True, "input": "Hello"}
    answer = await client.post("/v1/responses", json=body)
    return said_in(answer, "delta")


async def chatting(client: httpx.AsyncClient) -> str:
    said = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}
    answer = await client.post("/api/chat", json={"id": "s", "messages": [said]})
    return said_in(answer, "delta")


@pytest.mark.usefixtures("answered_at_once")
@pytest.mark.parametrize("ask", [inline, completed, completing, responding, chatting])
async def test_answer_that_is_there_before_its_acceptance_is_shown_whole_to_who_asked(
    broker: Broker, nats_client: Client, ask: Any
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1") as (_, client),
        foreign_worker(nats_client, "pod-1"),
        asyncio.timeout(20),
    ):
        assert await ask(client) == TEXT


async def test_nothing_is_left_of_a_reader_who_was_refused_or_never_came(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Hub] = []
    reserve = Hub.reserve

    def noting(self: Hub, *arguments: Any) -> Any:
        seen.append(self)
        return reserve(self, *arguments)

    monkeypatch.setattr(Hub, "reserve", noting)
    async with pod_and_client(broker.url, "pod-1", role="all") as (_, client):
        headers = {"Accept": "text/event-stream"}
        refused = await client.post(
            "/v1/sessions/s/messages",
            json={"message": "x", "context": {"model": "nobody's"}},
            headers=headers,
        )
        assert refused.status_code == 422
        await client.post(
            "/v1/sessions/s/messages", json={"message": "x", "context": {"model": "echo"}}, headers=headers
        )
        assert len(seen) == 2
        await eventually(lambda: seen[0].channel("s") is None)  # type: ignore[arg-type] - any str will do


# --- slow ----------------------------------------------------------------------------------------------------------------


async def test_burst_is_shown_whole_to_a_reader_who_reads(
    broker: Broker, nats_client: Client, live: Live
) -> None:
    """More than a connection buffers, and faster than any socket takes it."""
    chunks = answer("s", 2000)
    for piece in chunks:
        piece["chunk"] = "z" * 100
    before = dropped()
    async with pod_and_client(broker.url, "pod-1") as (_, client), live(client, "s") as stream:
        for at in range(0, 2000, 100):
            await nats_client.publish(RESPONSE, plain(batch("s", chunks[at : at + 100])))
        reading = await stream.read_finals()
    assert reading.ids == list(range(2000))
    assert dropped() == before


async def test_large_chunks_back_to_back_are_shown_and_then_our_own(
    broker: Broker, nats_client: Client, live: Live
) -> None:
    async with pod_and_client(broker.url, "pod-1", role="all") as (_, client), live(client, "s") as stream:
        for number in range(3):
            piece = chunk("s", number, chunk="z" * 900_000, is_final=number == 2)
            await nats_client.publish(RESPONSE, plain(piece))
        assert (await stream.read_finals()).ids == [0, 1, 2]
        await post(client, "s", model="count", max_tokens=30)
        reading = await stream.read_finals(2)
    assert reading.ids[3:] == list(range(31))


async def test_reader_who_pauses_gets_in_order_what_came_meanwhile(
    broker: Broker, nats_client: Client, came: list[str], live: Live
) -> None:
    chunks = answer("s", 1500, "m")
    for piece in chunks:
        piece["chunk"] = "z" * 1000
    async with pod_and_client(broker.url, "pod-1", "sse.max_buffer_bytes=16384") as (mesh, client):
        assert mesh.server is not None
        async with (
            raw_reader(mesh.server.url, "/v1/sessions/s/events?message_id=m") as slow,
            live(client, "s") as fast,
        ):
            for at in range(0, 1500, 50):
                await nats_client.publish(RESPONSE, plain(batch("s", chunks[at : at + 50])))
            await eventually(lambda: len(came) == 1500)
            await fast.read_finals()
            assert 0 < max(all_buffered()) < 32_768, "what is kept lies not in the connection"
            await slow.read_all()
    assert [piece["chunk_id"] for piece in slow.chunks] == list(range(1500))
    assert not slow.is_cut


async def test_reader_for_whom_too_much_came_is_cut_and_no_other_is(
    broker: Broker, nats_client: Client, live: Live
) -> None:
    chunks = answer("s", 1000, "m")
    for piece in chunks:
        piece["chunk"] = "z" * 8000
    before = dropped()
    async with pod_and_client(broker.url, "pod-1", "sse.max_buffer_bytes=16384") as (mesh, client):
        assert mesh.server is not None
        async with (
            raw_reader(mesh.server.url, "/v1/sessions/s/events?message_id=m") as slow,
            live(client, "s") as fast,
        ):
            for at in range(0, 1000, 50):
                await nats_client.publish(RESPONSE, plain(batch("s", chunks[at : at + 50])))
                reading = await fast.read(50)
            await slow.read_all()
    assert reading.ids == list(range(1000))
    assert slow.is_cut
    shown = [piece["chunk_id"] for piece in slow.chunks]
    assert shown == list(range(len(shown)))
    assert len(shown) < 1000
    assert dropped() > before
