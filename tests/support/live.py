"""Readers that are known to be live."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import pytest

from chatmesh.hub.channel import Channel
from tests.support.reading import Stream, events
from tests.support.waiting import eventually

Live = Callable[..., AbstractAsyncContextManager[Stream]]


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Live:
    """Opens a session's events and returns once the pod pushes to them: an open stream may still read the transcript,
    and from outside nobody can tell."""
    count = 0
    attach = Channel.attach

    def counting(self: Channel, *arguments: object) -> bool:
        nonlocal count
        is_live = attach(self, *arguments)  # type: ignore[arg-type]
        count += is_live
        return is_live

    monkeypatch.setattr(Channel, "attach", counting)

    @asynccontextmanager
    async def opened(client: httpx.AsyncClient, session_id: str, **query: str) -> AsyncIterator[Stream]:
        before = count
        async with events(client, session_id, **query) as stream:
            await eventually(lambda: count > before)
            yield stream

    return opened
