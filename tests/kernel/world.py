"""What kernel tests are made of: a clock that stands still, a witness, and services that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from chatmesh.kernel import (
    Actor,
    Backoff,
    Child,
    EventKind,
    Intensity,
    KernelEvent,
    Mailbox,
    ManualClock,
    Service,
    Supervisor,
)

# Far more turns of the loop than anything here needs, and still only milliseconds: what hangs fails at once.
_TURNS = 2000

Script = Callable[["Scripted", Callable[[], None]], Awaitable[None]]


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until `condition` holds; fails when it never does. No time passes."""
    for _ in range(_TURNS):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never came true")


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def finish(task: asyncio.Task[None]) -> None:
    """The end of `task`, without waiting for one that hangs."""
    await until(task.done)
    task.result()


class World:
    """A clock, everything that was observed, and trees that use both. Backoffs are 1, 2, 4, … seconds, unjittered."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.events: list[KernelEvent] = []

    def supervisor(
        self, name: str, *children: Child, restarts: int = 5, backoff: Backoff | None = None
    ) -> Supervisor:
        return Supervisor(
            name,
            children,
            intensity=Intensity(restarts, 30.0),
            backoff=backoff or Backoff(1.0, jitter=0.0),
            clock=self.clock,
            observe=self.events.append,
        )

    async def up(self, supervisor: Supervisor) -> asyncio.Task[None]:
        """Run `supervisor`; returns once the whole tree is up."""
        started = asyncio.Event()
        task = asyncio.create_task(supervisor.run(started.set))
        await until(lambda: started.is_set() or task.done())
        assert started.is_set(), task
        return task

    def begin(self, supervisor: Supervisor) -> asyncio.Task[None]:
        return asyncio.create_task(supervisor.run(lambda: None))

    def seen(self, *kinds: EventKind) -> list[str]:
        """What was observed, like "started root/a"; all of it, or only these kinds."""
        return [f"{event.kind} {event.path}" for event in self.events if not kinds or event.kind in kinds]

    async def saw(self, what: str, times: int = 1) -> KernelEvent:
        """Wait for an event by what `seen` calls it; returns the last of them."""
        await until(lambda: self.seen().count(what) >= times)
        return next(event for event in reversed(self.events) if f"{event.kind} {event.path}" == what)

    async def advance(self, seconds: float) -> None:
        """Move time once somebody is asleep."""
        await until(lambda: self.clock.sleepers > 0)
        self.clock.advance(seconds)


class Teller(Actor[object]):
    """Notes messages and how many its present life has had; raises those that are exceptions."""

    def __init__(self, mailbox: Mailbox[object], told: list[tuple[object, int]] | None = None) -> None:
        super().__init__(mailbox)
        self.told = told if told is not None else []
        self.count = 0

    async def receive(self, message: object) -> None:
        if isinstance(message, BaseException):
            raise message
        self.count += 1
        self.told.append((message, self.count))


class Scripted(Service):
    """Runs `script` with itself, so that a test says in one function what a service does. `drained` is its drain."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.drained = asyncio.Event()

    async def run(self, started: Callable[[], None]) -> None:
        await self.script(self, started)

    def drain(self) -> None:
        self.drained.set()


def teller(
    name: str, mailbox: Mailbox[object] | None = None, told: list[tuple[object, int]] | None = None
) -> Child:
    """A child that is a Teller with this mailbox, or one of its own."""
    own = mailbox if mailbox is not None else Mailbox[object](9, name=name)
    return Child(name, lambda: Teller(own, told))


def scripted(
    name: str,
    script: Script,
    *,
    restart: bool = True,
    drain_seconds: float = 5.0,
) -> Child:
    return Child(name, lambda: Scripted(script), restart=restart, drain_seconds=drain_seconds)


async def obeys(service: Scripted, started: Callable[[], None]) -> None:
    """Is up at once and returns when drained."""
    started()
    await service.drained.wait()


async def ignores_drain(_: Scripted, started: Callable[[], None]) -> None:
    """Is up at once and stays until it is cancelled."""
    started()
    await asyncio.Event().wait()


async def never_up(_: Scripted, __: Callable[[], None]) -> None:
    """Is stuck in its start until it is cancelled."""
    await asyncio.Event().wait()
