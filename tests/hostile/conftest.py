"""One pod with a worker beside it, whose services must not crash, whatever is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from chatmesh.app import Mesh
from chatmesh.kernel import EventKind, KernelEvent
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.models import models

SETTINGS = ("worker.ack_wait_seconds=1", "worker.holder_timeout_seconds=0.2", models("held"))


@pytest.fixture
def crashes(monkeypatch: pytest.MonkeyPatch) -> list[KernelEvent]:
    """Services that crashed and were run again, of every mesh of the test."""
    seen: list[KernelEvent] = []

    def observe(event: KernelEvent) -> None:
        if event.error is not None or event.kind is EventKind.RESTARTING:
            seen.append(event)

    monkeypatch.setattr("chatmesh.app.children.observe", observe)
    return seen


@pytest.fixture
async def mesh(broker: Broker, crashes: list[KernelEvent]) -> AsyncIterator[Mesh]:
    async with running(broker.url, *SETTINGS, role="all", id="p") as mesh:
        yield mesh
    assert not crashes, f"services crashed: {[(event.path, repr(event.error)) for event in crashes]}"


@pytest.fixture
async def http(mesh: Mesh) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(mesh) as client:
        yield client
