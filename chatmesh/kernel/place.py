"""One child's place in the tree: the service that stands there now, its task, and how it ended.

It does what the supervisor decides, and decides nothing itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from chatmesh.kernel.clock import Clock
from chatmesh.kernel.events import EventKind, KernelEvent, Observe, tell
from chatmesh.kernel.failures import ChildCancelled
from chatmesh.kernel.service import Child, Service


class State(StrEnum):
    """Where a child stands. STOPPED also holds before its first start."""

    STARTING = "starting"
    RUNNING = "running"
    BACKING_OFF = "backing off"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ChildState:
    """What a health page shows of a child. `restarts` counts since the place was first started."""

    state: State
    restarts: int


class Place:
    """The supervisor is its only user. `changed` is called when the supervisor should look again."""

    def __init__(
        self, child: Child, path: str, *, clock: Clock, observe: Observe, changed: Callable[[], None]
    ) -> None:
        self.child = child
        self.path = path
        self.state = State.STOPPED
        self.restarts = 0
        self.was_up = False
        # Stays after its end until the next one is made, so that a drain reaches whoever waits at its mailbox.
        self.service: Service | None = None
        self._clock = clock
        self._observe = observe
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self._was_cancelled = False

    @property
    def is_alive(self) -> bool:
        """Whether a task is there whose end nobody has looked at."""
        return self._task is not None

    @property
    def has_ended(self) -> bool:
        return self._task is not None and self._task.done()

    @property
    def is_coming_up(self) -> bool:
        return self.state in {State.STARTING, State.BACKING_OFF}

    def start(self) -> None:
        self.state = State.STARTING
        self._begin(None)

    def restart(self, backoff_seconds: float, error: BaseException) -> None:
        """Make a fresh service after the wait. The wait is part of the new task, so one cancel ends either."""
        self.restarts += 1
        self.state = State.BACKING_OFF
        self.tell(EventKind.RESTARTING, error, backoff_seconds)
        self._begin(backoff_seconds)

    def drain(self) -> None:
        """Ask the service to finish; end the wait if none was made yet. Also tells senders that wait at a dead one."""
        if self.service is None or self.state is State.BACKING_OFF:
            self.cancel()
        else:
            self._drain_service()

    def cancel(self) -> None:
        """Cancel the task, as often as called; `reap` then expects a CancelledError.

        The service is drained too: whoever waits at it hears of its end, and one that loses the cancel on its way
        (`asyncio.wait_for` of 3.11 can) still has a reason to return.
        """
        # False if the task has ended: then it ended by itself and its error is a crash.
        if self._task is not None and self._task.cancel():
            self._was_cancelled = True
        self._drain_service()

    def reap(self) -> BaseException | None:
        """Take the end of the task: what it crashed with. None after a return, and after a cancel that we asked for."""
        task, self._task = self._task, None
        if task is None:
            return None
        error = _error_of(task, self.path)
        if not self._was_cancelled:
            return error
        if error is not None and not task.cancelled():
            self.tell(EventKind.FAILED_WHILE_CANCELLED, error)
        return None

    def rest(self) -> None:
        """Nothing comes back here: let those hear it who still send, and say so, once."""
        if self.state is State.STOPPED:
            return
        self._drain_service()
        self.state = State.STOPPED
        self.tell(EventKind.STOPPED)

    def tell(
        self, kind: EventKind, error: BaseException | None = None, backoff_seconds: float | None = None
    ) -> None:
        tell(self._observe, KernelEvent(kind, self.path, error, backoff_seconds))

    def _begin(self, backoff_seconds: float | None) -> None:
        self._task = asyncio.create_task(self._live(backoff_seconds), name=self.path)
        self._task.add_done_callback(lambda _: self._changed())

    async def _live(self, backoff_seconds: float | None) -> None:
        if backoff_seconds is not None:
            await self._clock.sleep(backoff_seconds)
            self.state = State.STARTING
        service = self.child.make()
        service.path = self.path
        self.service = service
        await service.run(partial(self._up, service))

    def _up(self, service: Service) -> None:
        # Twice, or late from a service that was replaced meanwhile: it says nothing about the present one.
        if service is not self.service or self.state is not State.STARTING:
            return
        self.state = State.RUNNING
        self.was_up = True
        self.tell(EventKind.STARTED)
        self._changed()

    def _drain_service(self) -> None:
        if self.service is None:
            return
        try:
            self.service.drain()
        except Exception as error:  # noqa: BLE001 - one child's bug must not keep the supervisor from stopping the rest
            self.tell(EventKind.CRASHED, error)
            if self._task is not None and self._task.cancel():
                self._was_cancelled = True


def _error_of(task: asyncio.Task[None], path: str) -> BaseException | None:
    if not task.cancelled():
        return task.exception()
    error = ChildCancelled(f"{path} ended with a CancelledError that its supervisor had not asked for")
    try:
        task.result()
    except asyncio.CancelledError as cancel:
        error.__cause__ = cancel  # its traceback tells where
    return error
