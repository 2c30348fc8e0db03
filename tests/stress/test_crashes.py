"""Any actor of a running mesh may crash: its supervisor brings it back, and the mesh answers as before. One that crashes
again and again ends the process."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from chatmesh.app import Mesh
from chatmesh.cli.process import _run
from chatmesh.config import load
from chatmesh.errors import Exit, GaveUpError
from chatmesh.hub import Pulse
from chatmesh.kernel import Intensity, State
from chatmesh.kernel.restarts import Backoff
from chatmesh.workflow import Desk
from tests.stress.support import PATIENCE_SECONDS, Monitor, place_of, service_of
from tests.support.broker import Broker
from tests.support.mesh import QUICK, client_of, running
from tests.support.reading import Reading, events, post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

SETTINGS = ("worker.ack_wait_seconds=1", "heartbeat.interval_seconds=0.3", "log.level=warning")
"""A short lease: a delivery that died with its actor comes back after it. Heartbeats often: some crash in one."""

ASKED = b'{"message_id":"m","session_id":"s","message":"go","context":{"model":"count","max_tokens":3}}'


class Injected(Exception):  # noqa: N818 - not one of ours
    """Nobody expects this one."""


@pytest.fixture
async def mesh(broker: Broker) -> AsyncIterator[Mesh]:
    async with running(broker.url, *SETTINGS, id="me") as mesh:
        yield mesh


@pytest.fixture
async def http(mesh: Mesh) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(mesh) as client:
        yield client


def crash_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, at: int = 1) -> Callable[[], bool]:
    """One call of that method raises, the next as a rule; all others are as before. Returns whether it has happened."""
    original = getattr(owner, name)
    calls: list[str] = []

    def first() -> None:
        calls.append(name)
        if len(calls) == at:
            raise Injected(name)

    async def fail_async(*given: Any, **named: Any) -> Any:
        first()
        return await original(*given, **named)

    def fail(*given: Any, **named: Any) -> Any:
        first()
        return original(*given, **named)

    monkeypatch.setattr(owner, name, fail_async if inspect.iscoroutinefunction(original) else fail)
    return lambda: len(calls) >= at


class World:
    """What may happen to a mesh from outside, so that the method in question is called."""

    def __init__(self, mesh: Mesh, http: httpx.AsyncClient, client: Client) -> None:
        self.mesh = mesh
        self.http = http
        self.client = client
        self._numbers = iter(range(10_000))

    async def message(self) -> None:
        await post(self.http, f"nudge{next(self._numbers)}", model="count", max_tokens=3)

    async def reader(self) -> None:
        async with events(self.http, f"nudge{next(self._numbers)}"):
            await self.message()

    async def read_message(self) -> None:
        session_id = f"nudge{next(self._numbers)}"
        async with events(self.http, session_id):
            await post(self.http, session_id, model="count", max_tokens=3)

    async def health(self) -> None:
        for subject in ("chat.pod.me.health", "chat.worker.me.health"):
            try:
                await self.client.request(subject, timeout=0.5)
            except NatsError:
                continue

    async def stop(self) -> None:
        await self.client.publish("chat.session.s.stop.m", b"{}")

    async def broadcast(self) -> None:
        await self.client.publish("chat.session.s.broadcast", b"{}")

    async def mend(self) -> None:
        service_of(self.mesh, "pod/pulse", Pulse)._hub.mend_all()

    async def doubt(self) -> None:
        self.mesh.broker.streams.doubt()

    async def closed_client(self) -> None:
        nats = self.mesh.broker.connection._client
        if nats is not None and not nats.is_closed:
            await nats.close()

    async def nothing(self) -> None:
        """It is called by the clock."""


Nudge = Callable[[World], Awaitable[None]]

CRASHES: list[tuple[str, str, Nudge]] = [
    ("broker/connection", "_connect", World.closed_client),
    ("broker/replies", "route", World.message),
    ("broker/publisher", "_resend_due", World.message),
    ("worker/router", "on_message", World.reader),
    ("worker/batcher", "_flush", World.message),
    ("worker/batcher", "_on_acknowledged", World.message),
    ("worker/leases", "_held.values", World.nothing),
    ("worker/desk", "receive", World.message),
    ("worker/desk", "_admit", World.message),
    ("worker/puller", "_on_delivery", World.message),
    ("worker/puller", "_ask", World.nothing),
    ("pod/holdings", "_release_due", World.nothing),
    ("pod/mender", "_mend", World.mend),
    ("pod/pulse", "_look_around", World.nothing),
    ("pod/responses", "on_message", World.read_message),
    ("pod/broadcasts", "on_message", World.broadcast),
    ("pod/health", "on_message", World.health),
    ("pod/beacon", "_beat", World.nothing),
]

# Of the same kind as one above, in another place.
MORE_CRASHES: list[tuple[str, str, Nudge]] = [
    ("broker/streams", "_check", World.doubt),
    ("worker/pods", "on_message", World.nothing),
    ("worker/workers", "on_message", World.nothing),
    ("worker/watch", "_look", World.nothing),
    ("worker/stops", "on_message", World.stop),
    ("worker/health", "on_message", World.health),
    ("worker/beacon", "_beat", World.nothing),
    ("pod/roster", "on_message", World.nothing),
]


class FragileDict(dict[Any, Any]):
    """A dict whose methods can be replaced."""


async def is_answered(http: httpx.AsyncClient, session_id: str, reading: Reading) -> None:
    """A message is accepted, in the end, and answered whole."""

    async def is_accepted() -> bool:
        try:
            answer = await post(http, session_id, model="count", max_tokens=5)
        except httpx.TransportError:
            return False
        return answer.status_code == 202

    before = len(reading.finals)
    await eventually(is_accepted, timeout=PATIENCE_SECONDS, message="an accepted message")
    await read_to(http, session_id, reading, before + 1)
    assert reading.ids[-6:] == list(range(6))
    assert reading.chunks[-1]["metadata"]["finish_reason"] == "stop"


async def read_to(http: httpx.AsyncClient, session_id: str, reading: Reading, finals: int) -> None:
    """As a browser does: it comes back where the stream ended."""

    async def once() -> bool:
        try:
            async with events(http, session_id, reading=reading, **{"from": "start"}) as stream:
                await stream.read_finals(finals)
        except httpx.TransportError:
            return False
        return len(reading.finals) >= finals

    await eventually(once, timeout=PATIENCE_SECONDS, message=f"{finals} finals in {session_id}")


async def wait_restarted(mesh: Mesh, path: str, times: int = 1) -> None:
    def is_back() -> bool:
        state = mesh.tree.children_state()[path]
        return state.restarts >= times and state.state is State.RUNNING

    await eventually(is_back, timeout=PATIENCE_SECONDS, message=f"{path} up again")


@pytest.mark.parametrize(
    ("path", "method", "nudge"),
    [*CRASHES, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE_CRASHES)],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_actor_that_crashed_comes_back_and_the_mesh_answers(
    mesh: Mesh,
    http: httpx.AsyncClient,
    nats_client: Client,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    method: str,
    nudge: Nudge,
) -> None:
    reading = Reading()
    await is_answered(http, "s", reading)
    owner: Any = place_of(mesh, path).service
    if method == "_held.values":
        owner._held = FragileDict(owner._held)
        owner, method = owner._held, "values"
    has_crashed = crash_once(monkeypatch, owner, method)
    world = World(mesh, http, nats_client)

    async def crashes() -> bool:
        if not has_crashed():
            await nudge(world)
        return has_crashed()

    async with events(http, "s", reading=reading):
        await eventually(crashes, timeout=PATIENCE_SECONDS, message=f"a call of {path}.{method}")
        await wait_restarted(mesh, path)
        await is_answered(http, "s", reading)
    await is_answered(http, "other", Reading())
    # What the crash interrupted is repaired too: nothing stays queued or leased.
    await wait_idle(mesh, nats_client)


async def wait_idle(mesh: Mesh, client: Client) -> None:
    """Until nothing is queued."""

    async def is_idle() -> bool:
        state = (await client.jetstream(timeout=5).stream_info("WORKFLOW_REQUESTS")).state
        assert state.messages == 0, f"{state.messages} requests are left"
        return True

    await eventually(is_idle, timeout=PATIENCE_SECONDS, message="an empty queue")


async def test_everything_that_was_delivered_is_answered_though_the_desk_crashed_in_the_midst(
    mesh: Mesh, http: httpx.AsyncClient, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deliveries come in bursts: some have a task that has not taken its first step when the crash cancels it."""
    has_crashed = crash_once(monkeypatch, place_of(mesh, "worker/desk").service, "_admit", at=10)
    async with asyncio.TaskGroup() as posts:
        for number in range(30):
            posts.create_task(post(http, f"s{number}", model="count", max_tokens=2))
    await eventually(has_crashed, timeout=PATIENCE_SECONDS)
    await wait_idle(mesh, nats_client)
    for number in range(0, 30, 5):
        reading = Reading()
        await read_to(http, f"s{number}", reading, 1)
        assert reading.ids == [0, 1, 2]
    desk = service_of(mesh, "worker/desk", Desk)
    assert desk.free_slots == mesh.config.worker.concurrency
    assert desk.parked == 0


async def test_every_hole_is_filled_though_the_mender_crashed_in_the_midst(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All live batches are lost, so each reader waits for the mender, which crashes while others wait for their look."""
    monkeypatch.setattr("chatmesh.hub.pulse.SILENCE_SECONDS", 0.2)
    monkeypatch.setattr("chatmesh.hub.mender.AT_ONCE", 1)
    async with running(broker.url, *SETTINGS, id="me") as mesh, client_of(mesh) as http:
        hub = service_of(mesh, "pod/pulse", Pulse)._hub
        monkeypatch.setattr(hub, "on_record", lambda _record: None)

        async def read(session_id: str) -> None:
            async with events(http, session_id) as stream:
                await post(http, session_id, model="count", max_tokens=5)
                reading = await stream.read_finals()
                assert reading.ids == list(range(6))

        has_crashed = crash_once(monkeypatch, place_of(mesh, "pod/mender").service, "_mend", at=3)
        async with asyncio.TaskGroup() as readers:
            for number in range(10):
                readers.create_task(read(f"s{number}"))
        assert has_crashed()


async def test_listener_whose_inbox_was_closed_under_it_comes_back(
    mesh: Mesh, http: httpx.AsyncClient
) -> None:
    for inbox in list(mesh.broker.connection._inboxes):
        # All at once would be more crashes than a subtree is granted, and another story.
        if not inbox.subject.endswith(".heartbeat"):
            inbox.close()
    for path in ("broker/replies", "worker/puller", "worker/router", "pod/responses", "pod/broadcasts"):
        await wait_restarted(mesh, path)
    await is_answered(http, "s", Reading())


@pytest.mark.slow
async def test_every_actor_may_die_of_a_cancel_that_nobody_asked_for(
    broker: Broker, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other in one mesh, more often than it would be granted within half a minute."""
    monkeypatch.setattr(
        "chatmesh.app.children.Intensity", lambda _restarts, seconds: Intensity(1000, seconds)
    )
    async with running(broker.url, *SETTINGS, id="me") as mesh, client_of(mesh) as http:
        await is_answered(http, "s", Reading())
        base = await monitor.counts()
        paths = [path for path, state in mesh.tree.children_state().items() if state.state is State.RUNNING]
        leaves = [path for path in paths if "/" in path]
        assert len(leaves) > 20
        for path in leaves:
            restarts = mesh.tree.children_state()[path].restarts
            task = place_of(mesh, path)._task
            assert task is not None
            task.cancel()
            await wait_restarted(mesh, path, restarts + 1)
            await is_answered(http, path.replace("/", "-"), Reading())
        await monitor.wait_counts(base)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("chatmesh.broker.publisher.Publisher._resend_due", marks=pytest.mark.slow),
        pytest.param("chatmesh.broker.puller.Puller._ask", marks=pytest.mark.slow),
        "chatmesh.hub.pulse.Pulse._look_around",
    ],
)
async def test_actor_that_crashes_again_and_again_ends_the_process_with_70(
    broker: Broker, monitor: Monitor, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def fail(*_: Any) -> None:
        raise Injected(method)

    def started() -> None:
        monkeypatch.setattr(method, fail)
        # Where nothing waits for its acknowledgement, nothing would be sent again.
        mesh.broker.connection.publish("chat.workflow.execute.s", ASKED)

    monkeypatch.setattr(Backoff, "seconds", lambda *_: 0.01)
    monkeypatch.setattr("chatmesh.hub.pulse.TICK_SECONDS", 0.02)
    base = await monitor.counts()
    overrides = [*QUICK, *SETTINGS, f"nats.servers={broker.url}"]
    mesh = Mesh(load(None, environ={}, overrides=overrides, role="all", id="me").config)
    process = asyncio.create_task(_run(mesh.tree, started))
    await asyncio.wait({process}, timeout=PATIENCE_SECONDS)
    assert process.done(), mesh.tree.children_state()
    error = process.exception()
    assert isinstance(error, GaveUpError)
    assert error.exit_code == Exit.GAVE_UP == 70
    await monitor.wait_counts(base)
