"""What is counted before and after: tasks, descriptors, and what the server has of us; and a way to a part of the tree."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from chatmesh.app import Mesh
from chatmesh.kernel import Service, Supervisor
from chatmesh.kernel.place import Place
from tests.support.waiting import eventually

PATIENCE_SECONDS = 30.0
"""For what takes milliseconds on an idle machine: a net under a hang, no promise of speed."""

S = TypeVar("S", bound=Service)


@dataclass(frozen=True)
class Counts:
    """Everything that must come back to what it was."""

    tasks: int
    descriptors: int
    connections: int
    subscriptions: int


class Monitor:
    """The server's own account of its clients."""

    def __init__(self, port: int, client: httpx.AsyncClient) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._client = client

    async def subscriptions(self) -> list[str]:
        """The subject of every open subscription of every client."""
        return [
            subject for each in await self._connections() for subject in each.get("subscriptions_list", [])
        ]

    async def counts(self) -> Counts:
        connections = await self._connections()
        subscriptions = sum(each.get("subscriptions", 0) for each in connections)
        return Counts(len(asyncio.all_tasks()), open_descriptors(), len(connections), subscriptions)

    async def wait_counts(self, base: Counts) -> None:
        """Until everything is as it was at `base`, or less."""

        async def is_back() -> bool:
            now = await self.counts()
            over = {
                name: (value, now_value) for name, value, now_value in _pairs(base, now) if now_value > value
            }
            assert not over, f"before and now: {over}; {await self.subscriptions()}; {_task_names()}"
            return True

        await eventually(is_back, timeout=PATIENCE_SECONDS, message="everything given back")

    async def _connections(self) -> list[dict[str, Any]]:
        answer = await self._client.get(f"{self._url}/connz", params={"subs": 1, "limit": 10_000})
        found: list[dict[str, Any]] = answer.json()["connections"] or []
        return found


def open_descriptors() -> int:
    """Of this process; the look itself is one of them, each time."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def place_of(mesh: Mesh, path: str) -> Place:
    """The place at `path` below the root, like "pod/holdings"."""
    supervisor = mesh.tree
    *above, last = path.split("/")
    for name in above:
        service = _place(supervisor, name).service
        assert isinstance(service, Supervisor)
        supervisor = service
    return _place(supervisor, last)


def service_of(mesh: Mesh, path: str, kind: type[S]) -> S:
    """The service that stands there now."""
    service = place_of(mesh, path).service
    assert isinstance(service, kind)
    return service


async def turns(count: int) -> None:
    """So many turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


def _place(supervisor: Supervisor, name: str) -> Place:
    return next(place for place in supervisor._places if place.child.name == name)


def _pairs(base: Counts, now: Counts) -> list[tuple[str, int, int]]:
    return [(name, getattr(base, name), getattr(now, name)) for name in Counts.__dataclass_fields__]


def _task_names() -> list[str]:
    return sorted(task.get_name() for task in asyncio.all_tasks())
