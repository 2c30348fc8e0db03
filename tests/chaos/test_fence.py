"""`worker.fenced`: on, who lost its claim can't write; off, it can, and says at its start that it could."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chatmesh.app import Mesh
from chatmesh.broker import PubAck
from chatmesh.errors import BrokerError, FencedError
from chatmesh.protocol.records import Claim
from chatmesh.protocol.tokens import Token
from tests.support.broker import Broker
from tests.support.mesh import running
from tests.support.processes import Process

pytestmark = pytest.mark.slow

SESSION, MESSAGE = Token("s"), Token("m")


def claim(nonce: str) -> Claim:
    return Claim(SESSION, MESSAGE, Token("w"), "boot", nonce, 1, 0, 0, 0, "")


async def written_under_a_lost_claim(mesh: Mesh, after: int = 0) -> PubAck | BrokerError:
    transcript = mesh.broker.transcript
    lost = await transcript.claim(claim(f"first{after}"), after=after, seconds=5)
    assert lost is not None
    assert await transcript.claim(claim(f"second{after}"), after=lost, seconds=5)
    done: asyncio.Future[PubAck | BrokerError] = asyncio.get_running_loop().create_future()
    await transcript.append(SESSION, MESSAGE, lost, 0, b"{}", done.set_result, seconds=5)
    return await done


async def test_who_lost_its_claim_writes_only_without_the_fence(broker: Broker) -> None:
    async with running(broker.url) as mesh:
        assert isinstance(await written_under_a_lost_claim(mesh), FencedError)
    async with running(broker.url, "worker.fenced=false") as mesh:
        assert isinstance(await written_under_a_lost_claim(mesh, after=2), PubAck)


async def test_worker_without_a_fence_says_at_its_start_that_it_has_none(
    broker: Broker, chatmesh: Callable[..., Process]
) -> None:
    settings = ("--set", f"nats.servers={broker.url}", "--set", "worker.fenced=false")
    process = chatmesh("run", "--role", "worker", *settings)
    line = await process.wait_for_line('"app.unfenced"', stream="stderr")
    assert '"level": "warning"' in line.string
