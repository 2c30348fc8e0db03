"""Readers whose stream has its socket to itself: whatever happens while something is read for one, it is ended once and
nothing is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from chatmesh.broker import Ownership, RequestQueue, Transcript
from chatmesh.hub.channel import Channel
from chatmesh.hub.erased import Erased
from chatmesh.hub.feeder import Feeder
from chatmesh.hub.following import Follower
from chatmesh.hub.hub import Hub, HubSettings
from chatmesh.hub.resume import Start
from chatmesh.hub.wires import Native
from chatmesh.kernel import Mailbox
from chatmesh.protocol.callers import ANYBODY
from chatmesh.protocol.positions import START
from chatmesh.protocol.tokens import Token
from chatmesh.web import Stream
from tests.support.waiting import eventually
from tests.units.made import SESSION
from tests.units.sinks import FakeSink


class Place:
    """A hub whose registry does what the test says when a reader begins."""

    def __init__(self) -> None:
        transcript = cast("Transcript", SimpleNamespace(epoch_now=lambda _session_id: "e"))
        ownership = cast("Ownership", SimpleNamespace(is_on=False))
        self.hub = Hub(transcript, HubSettings(10, 1000, 15.0), Mailbox[Channel](10, name="mender"))
        self.failure: Exception | None = None
        self.held: list[Token] = []
        erased = Erased(cast("RequestQueue", None), transcript)
        follower = Follower(
            self.hub, transcript, ownership, erased, hold=self._hold, release=self.held.remove
        )
        self.feeder = Feeder(follower)

    async def _hold(self, session_id: Token) -> None:
        self.held.append(session_id)
        if self.failure is not None:
            raise self.failure
        await asyncio.Event().wait()

    def follow(self) -> FakeSink:
        sink = FakeSink()
        wire = Native(self.hub.scope(SESSION))
        self.feeder.follow(cast("Stream", sink), wire, ANYBODY, SESSION, None, Start(START, 1))
        return sink

    @property
    def is_empty(self) -> bool:
        kept = (self.hub.readers, self.hub.channel(SESSION), self.held, self.feeder._tasks)
        return not any(kept) and not len(self.hub.rounds)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    up = asyncio.Event()
    running = asyncio.create_task(place.feeder.run(up.set))
    await up.wait()
    yield place
    place.feeder.drain()
    await running
    await eventually(lambda: place.is_empty)


def crashes() -> float:
    labels = {"room": "hub", "kind": "stream"}
    return REGISTRY.get_sample_value("chatmesh_errors_total", labels) or 0.0


async def test_crash_cuts_one_stream_and_is_counted_and_logged(place: Place) -> None:
    before = crashes()
    other = place.follow()
    await eventually(lambda: place.held == [SESSION])
    place.failure = RuntimeError("a bug")
    with capture_logs() as logs:
        sink = place.follow()
        await eventually(lambda: sink.is_cut)
    assert crashes() == before + 1
    (line,) = [line for line in logs if line["event"] == "hub.stream_failed"]
    assert line["exc_info"] is place.failure
    assert len(place.hub.readers) == 1
    assert not other.is_closed


async def test_client_that_leaves_while_it_is_fed_is_forgotten_at_once(place: Place) -> None:
    sink = place.follow()
    await eventually(lambda: place.held == [SESSION])
    sink.leave()
    await eventually(lambda: place.is_empty)


async def test_client_that_leaves_before_anything_was_read_for_it_is_forgotten(place: Place) -> None:
    place.follow().leave()
    await eventually(lambda: place.is_empty)


async def test_reader_that_comes_while_its_pod_leaves_is_told_and_ended(place: Place) -> None:
    place.hub.is_leaving = True
    sink = place.follow()
    assert sink.stream.startswith(b"event: drain\n")
    assert sink.is_closed
    assert not sink.is_cut
    assert place.is_empty


async def test_feeder_that_ends_cuts_those_that_it_was_feeding(place: Place) -> None:
    sink = place.follow()
    await eventually(lambda: place.held == [SESSION])
    place.feeder.drain()
    await eventually(lambda: sink.is_cut)
    await eventually(lambda: place.is_empty)
