"""Senders that stop, or dribble, in each phase of a request at every door: closed in time, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from chatmesh.app import Mesh
from tests.attacks.wire import SAYING, SHARE, Door, ask
from tests.auth.support import asking, bearer, say, token
from tests.support.broker import Broker
from tests.web.serving import Wire

LIMIT = "http.request_timeout_seconds=1.5"
"""Long enough for an honest request on a loaded machine."""
OFTEN = 0.02
"""Seconds between two bytes of one who dribbles: far more often than the limit, so that any byte would renew it."""

READING = [
    Door("GET", "/v1/sessions/s/events"),
    Door("GET", "/v1/sessions/s/messages"),
    Door("POST", "/v1/sessions/s/ticket"),
    Door("GET", "/api/chat/s/stream"),
]
WITH_BODY = [*SAYING.values(), SHARE]


@pytest.fixture
async def hasty(broker: Broker) -> AsyncIterator[tuple[Mesh, httpx.AsyncClient]]:
    async with asking(broker.url, LIMIT, id="p") as (mesh, client):
        await say(client, "alice")  # a session that can be shared and read
        yield mesh, client


@asynccontextmanager
async def connected(mesh: Mesh, sent: bytes) -> AsyncIterator[Wire]:
    """One who has sent that, and closes at the end."""
    assert mesh.server is not None
    wire = Wire(*await asyncio.open_connection("127.0.0.1", mesh.server.port))
    try:
        wire.send(sent)
        yield wire
    finally:
        await wire.close()


def phases(door: Door) -> dict[str, bytes]:
    """What was sent before it stopped."""
    head, between, body = door.request().partition(b"\r\n\r\n")
    method, _, _ = head.partition(b" ")
    cut = {
        "method": method[:2],
        "address": head[: head.index(b" HTTP/")],
        "version": head[: head.index(b"\r\n") - 1],
        "header's name": head[: head.index(b"Host") + 2],
        "header's value": head[:-3],
        "end of the head": head + between[:-1],
    }
    if body:
        cut |= {"before the body": head + between, "in the body": head + between + body[:-1]}
    return cut


async def test_one_who_stops_in_any_phase_is_told_and_closed(hasty: tuple[Mesh, httpx.AsyncClient]) -> None:
    mesh, client = hasty
    async with AsyncExitStack() as stack:
        silent = await stack.enter_async_context(connected(mesh, b""))
        waiting = {
            (door.path, phase): await stack.enter_async_context(connected(mesh, sent))
            for door in [*WITH_BODY, *READING]
            for phase, sent in phases(door).items()
        }
        # Nobody else has to wait for them.
        assert (await ask(mesh, SAYING["chat completions"].request())).status == 200
        for what, wire in waiting.items():
            said = await wire.rest()
            assert said.startswith(b"HTTP/1.1 408 "), (what, said)
            assert said.count(b"HTTP/1.1 ") == 1, what
        assert await silent.rest() == b""
    rows = (await client.get("/v1/sessions/s/messages", headers=bearer(token()))).json()["messages"]
    assert len(rows) == 2, "nothing that was sent in part was accepted"


@pytest.mark.slow
async def test_one_who_dribbles_is_closed_however_busy_it_looks(
    hasty: tuple[Mesh, httpx.AsyncClient],
) -> None:
    mesh, _ = hasty

    async def dribble(sent: bytes, part: bytes) -> bytes:
        async with connected(mesh, sent) as wire:
            return await wire.dribble(part, every_seconds=OFTEN)

    long = {"Content-Length": "60000"}
    chunked = {"Transfer-Encoding": "chunked"}
    asked = []
    for door in WITH_BODY:
        head, between, _ = door.request(long).partition(b"\r\n\r\n")
        framed = door.request(chunked).replace(b"Content-Length", b"X-Length").partition(b"\r\n\r\n")[0]
        asked += [
            dribble(head + b"\r\nX-More: ", b"x"),
            dribble(head + between, b" "),
            dribble(framed + between, b"1\r\n \r\n"),
        ]
    for said in await asyncio.gather(*asked):
        assert said.startswith(b"HTTP/1.1 408 "), said


async def test_stranger_is_sent_away_before_a_body_is_waited_for(broker: Broker) -> None:
    """With the usual limit, which the test would not wait for."""
    async with asking(broker.url, "http.request_timeout_seconds=600", role="pod", id="p") as (mesh, _):
        for door in WITH_BODY:
            sent = door.request({"Authorization": "Bearer x", "Content-Length": "60000"})
            head = sent.partition(b"\r\n\r\n")[0]
            async with connected(mesh, head + b"\r\n\r\n{") as wire:
                assert (await wire.reply()).status == 401, door.path
