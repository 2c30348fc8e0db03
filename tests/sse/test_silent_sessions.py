"""A session that was silent while others spoke: led over what they said, its readers and models get all of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatmesh.app import Mesh
from chatmesh.broker import Transcript
from chatmesh.broker.homes import Homes
from chatmesh.protocol.tokens import Token
from tests.sealing.support import ring_of, sealed, write_ring
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import Reading, events, post

TURNS = 4
COUNT = {"model": "count", "max_tokens": 4, "tokens_per_second": 100}


async def answered(client: httpx.AsyncClient, session_id: str, message_id: str) -> None:
    async with asyncio.timeout(30), events(client, session_id) as stream:
        await post(client, session_id, message_id=message_id, **COUNT)
        await stream.read_finals()


async def spoken(client: httpx.AsyncClient) -> None:
    """`TURNS` answers of one session, and others in between."""
    for turn in range(TURNS):
        await answered(client, "s", f"m{turn}")
        for other in range(2):
            await answered(client, f"other{turn}{other}", "m")


async def read(client: httpx.AsyncClient, position: str, finals: int) -> Reading:
    reading = Reading(position=position)
    query = {} if position else {"from": "start"}
    async with asyncio.timeout(30), events(client, "s", reading=reading, **query) as stream:
        await stream.read_finals(finals)
    return reading


@pytest.mark.parametrize("servers", ["one", "several", "several, sealed"])
async def test_every_position_goes_on_over_the_gaps(
    servers: str, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatmesh.broker.sparse.FAR", 1)
    follow, led = Transcript._follows, []

    async def follows(*between: Any) -> bool:
        led.append(await follow(*between))
        return led[-1]

    monkeypatch.setattr(Transcript, "_follows", follows)
    monkeypatch.setattr(Homes, "is_replicated", servers != "one")
    settings = [sealed(write_ring(tmp_path / "ring.json", ring_of()))] if "sealed" in servers else []
    async with running(broker.url, *settings) as mesh, client_of(mesh) as client:
        await spoken(client)
        whole = await read(client, "", TURNS)
        assert [final["message_id"] for final in whole.finals] == [f"m{turn}" for turn in range(TURNS)]
        assert whole.text == "1 2 3 4 " * TURNS
        for at, event in enumerate(whole.events):
            left = sum(chunk["is_final"] for chunk in whole.chunks[at + 1 :])
            rest = await read(client, event.id, left) if left else Reading()
            assert rest.chunks == (whole.chunks[at + 1 :] if left else [])
            assert not rest.named("reset")
        await assert_told(mesh, client)
    # Of one server the counts are enough.
    assert led.count(True) == len(led)
    assert bool(led) == (servers != "one")


async def assert_told(mesh: Mesh, client: httpx.AsyncClient) -> None:
    """History, page by page, and what a worker reads of what was said before."""
    rows, after = [], ""
    while True:
        query = {"limit": "1"} | ({"after": after} if after else {})
        page = (await client.get("/v1/sessions/s/messages", params=query)).json()
        rows += page["messages"]
        if page["next"] is None:
            break
        after = page["next"]
    assert [row["content"] for row in rows if row["role"] == "assistant"] == ["1 2 3 4 "] * TURNS
    held = await mesh.broker.transcript.last_claim(Token("s"), seconds=5)
    assert held is not None
    before = mesh.broker.transcript.records_before(Token("s"), held.token, seq=1, seconds=5)
    offsets = [record.offset async for record in before]
    assert offsets == list(range(1, held.claim.base + 1))
