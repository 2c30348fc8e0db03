"""A mesh for the browser's client, and what was said of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from chatmesh.app import Mesh
from tests.javascript.programs import Program
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.proxy import FaultProxy
from tests.support.waiting import eventually

COUNT = 120
PACE = {"model": "count", "max_tokens": COUNT, "tokens_per_second": 20}
"""An answer of six seconds: long enough to break something in the middle, on a busy machine too."""

TOLD = "".join(f"{number} " for number in range(1, COUNT + 1))
SHARED: dict[str, Any] = {"options": {"share": True}, "follow": {"history": True}}


@dataclass
class World:
    """A mesh of one process behind a proxy."""

    mesh: Mesh
    http: httpx.AsyncClient
    proxy: FaultProxy

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy.port}"

    async def readers(self) -> float:
        """How many streams the pod serves."""
        lines = (await self.http.get("/metrics")).text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("chatmesh_readers "))

    async def has_readers(self, count: int) -> None:
        async def look() -> bool:
            found = await self.readers()
            assert found == count
            return True

        await eventually(look, message=f"{count} streams")


@asynccontextmanager
async def world(broker: Broker, *settings: str) -> AsyncIterator[World]:
    async with running(broker.url, *settings) as mesh, client_of(mesh) as http:
        assert mesh.server is not None
        async with FaultProxy(mesh.server.port) as proxy:
            yield World(mesh, http, proxy)


def text(program: Program, tab: int = 0) -> str:
    return "".join(line["chunk"]["chunk"] for line in program.heard("chunk", tab=tab))


def whole(program: Program, tab: int = 0) -> bool:
    chunks = program.heard("chunk", tab=tab)
    return bool(chunks) and chunks[-1]["chunk"]["is_final"]


def served(program: Program, tab: int = 0) -> int:
    """How often it was connected; 0 while it is not."""
    links = program.heard("link", tab=tab)
    return links[-1]["connects"] if links and links[-1]["isLive"] else 0


def is_exact(program: Program, tab: int = 0) -> bool:
    """Every chunk came, and none of them twice, not even to be dropped."""
    counted = program.heard("chunk", tab=tab)[-1]["count"]
    assert counted["last"] == COUNT
    return bool(counted["lost"] == counted["repeated"] == 0)
