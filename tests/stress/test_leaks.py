"""Readers who come and go by the thousand, politely or not, leave nothing behind at a mesh that stays."""

from __future__ import annotations

import asyncio
import gc
import random
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from chatmesh.app import Mesh
from chatmesh.hub import Feeder, Pulse
from chatmesh.presence import Holdings
from chatmesh.relay import Router
from chatmesh.workflow import Desk, Leases
from tests.stress.support import PATIENCE_SECONDS, Monitor, service_of
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import events, post
from tests.support.waiting import eventually

AT_ONCE = 8
WARM_UP = 60
KEPT_BYTES_A_ROUND = 1024
"""A reader that leaked would keep ten times as much (its sink, its task, its event), a session about this much."""
SLACK_BYTES = 512 * 1024
"""What caches, pools and counters of a fresh process may still grow."""


@pytest.fixture
async def mesh(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mesh]:
    """One that forgets sessions without readers at once, not after the ten seconds that a reload may take."""
    monkeypatch.setattr("chatmesh.presence.holdings.LINGER_SECONDS", 0.1)
    async with running(broker.url, "log.level=warning", id="me") as mesh:
        yield mesh


class Visitors:
    """What readers do. Each round is a session of its own, so that whatever is kept for one adds up."""

    def __init__(self, mesh: Mesh, client: httpx.AsyncClient, chance: random.Random) -> None:
        self._mesh = mesh
        self._client = client
        self._chance = chance
        self._number = 0
        self.ways: list[Callable[[str], Awaitable[None]]] = [
            self.post_and_read,
            self.read_and_post,
            self.open_and_leave,
            self.leave_in_the_middle,
            self.abort,
        ]

    async def come(self, rounds: int) -> None:
        """So many visits, a few at once."""
        for _ in range(rounds // AT_ONCE):
            async with asyncio.TaskGroup() as visits:
                for _ in range(AT_ONCE):
                    self._number += 1
                    way = self._chance.choice(self.ways)
                    visits.create_task(self._visit(way, f"s{self._number}"))

    async def _visit(self, way: Callable[[str], Awaitable[None]], session_id: str) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await way(session_id)

    async def post_and_read(self, session_id: str) -> None:
        body = {"message": "go", "context": {"model": "count", "max_tokens": 3}}
        headers = {"Accept": "text/event-stream"}
        answer = await self._client.post(f"/v1/sessions/{session_id}/messages", json=body, headers=headers)
        assert '"is_final":true' in answer.text

    async def read_and_post(self, session_id: str) -> None:
        async with events(self._client, session_id) as stream:
            assert (await post(self._client, session_id, model="count", max_tokens=3)).status_code == 202
            assert (await stream.read_finals()).finals

    async def open_and_leave(self, session_id: str) -> None:
        async with events(self._client, session_id) as stream:
            assert stream.response.status_code == 200

    async def leave_in_the_middle(self, session_id: str) -> None:
        async with events(self._client, session_id) as stream:
            await post(self._client, session_id, model="count", max_tokens=40, tokens_per_second=400)
            await stream.read(1)

    async def abort(self, session_id: str) -> None:
        """Cut before, while or after it is answered."""
        assert self._mesh.server is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", self._mesh.server.port)
        writer.write(f"GET /v1/sessions/{session_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        if self._chance.random() < 0.5:
            await reader.read(self._chance.randrange(1, 400))
        writer.transport.abort()


def kept(mesh: Mesh) -> dict[str, int]:
    """Everything that the mesh keeps for a reader, a session, a request, or a message under way."""
    hub = service_of(mesh, "pod/pulse", Pulse)._hub
    holdings = service_of(mesh, "pod/holdings", Holdings)
    feeder = service_of(mesh, "pod/feeder", Feeder)
    desk = service_of(mesh, "worker/desk", Desk)
    assert mesh.server is not None
    connections = mesh.server._connections
    return {
        "readers": len(hub.readers),
        "readers to be looked at": len(hub.rounds),
        "readers being fed": len(feeder._tasks),
        "streams": len(connections._streams),
        "streams that wait for their clients": len(connections._waiting),
        "channels": len(hub._channels),
        "watched channels": len(hub._watched),
        "held sessions": len(holdings._readers),
        "sessions about to be released": len(holdings._leaving),
        "sessions untold": len(holdings._untold),
        "replies": len(mesh.broker.replies),
        "publishes": len(mesh.broker.publisher),
        "inboxes": len(mesh.broker.connection._inboxes),
        "leases": len(service_of(mesh, "worker/leases", Leases)),
        "routes": len(service_of(mesh, "worker/router", Router)._routes),
        "desk": len(desk._sessions),
    }


async def wait_kept(mesh: Mesh, base: dict[str, int]) -> None:
    def is_back() -> bool:
        over = {name: count for name, count in kept(mesh).items() if count > base[name]}
        assert not over, f"still kept: {over}"
        return True

    await eventually(is_back, timeout=PATIENCE_SECONDS, message="nothing kept")


async def leave_nothing(mesh: Mesh, monitor: Monitor, rounds: int) -> None:
    """Visits before are counted neither way: they fill pools and caches."""
    chance = random.Random(rounds)  # noqa: S311 - repeatable chance, no secret
    before = kept(mesh)
    base = await monitor.counts()
    async with client_of(mesh) as client:
        visitors = Visitors(mesh, client, chance)
        await visitors.come(WARM_UP)
        await wait_kept(mesh, before)
        gc.collect()
        tracemalloc.start()
        try:
            await visitors.come(rounds)
            await wait_kept(mesh, before)
            gc.collect()
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    await monitor.wait_counts(base)
    assert grown < SLACK_BYTES + rounds * KEPT_BYTES_A_ROUND, f"{grown} bytes are kept after {rounds} visits"


@pytest.mark.slow
async def test_visitors_leave_nothing_behind(mesh: Mesh, monitor: Monitor) -> None:
    await leave_nothing(mesh, monitor, 200)


@pytest.mark.slow
async def test_thousands_of_visitors_leave_nothing_behind(mesh: Mesh, monitor: Monitor) -> None:
    await leave_nothing(mesh, monitor, 2000)
