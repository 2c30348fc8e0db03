"""A service that keeps its children running: one that crashes is replaced, the others do not notice (one for one).

In: children. Out: a tree that is up, or the one failure that it could not repair. Every task below a supervisor is
started, watched and ended by it; none outlives its `run`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NoReturn

from chatmesh.kernel.clock import Clock
from chatmesh.kernel.events import EventKind, KernelEvent, Observe, tell
from chatmesh.kernel.failures import (
    ChildReturned,
    RestartIntensityExceeded,
    StartFailed,
    SupervisionFailed,
    Unrepairable,
    Unrepaired,
)
from chatmesh.kernel.place import ChildState, Place
from chatmesh.kernel.restarts import Backoff, CrashHistory, Intensity
from chatmesh.kernel.service import Child, Service

# With both, a child that crashes at once each time is given up after about three seconds.
_INTENSITY = Intensity(5, 30.0)
_BACKOFF = Backoff()


class Supervisor(Service):
    """Starts children left to right, each up before the next; stops them right to left, each at rest before the next.

    Stopping a child is: drain, wait for its deadline, cancel, wait. A child that swallows its cancel is waited for
    without end, since Python has no way to take a task down; another cancel of the supervisor is passed on to it.

    `run` returns after a drain, whatever children did meanwhile, and waits for one even if all of them are done.
    It raises, when everything below it has stopped:

    - StartFailed, if a child crashed on its first start;
    - RestartIntensityExceeded, if children crashed too often;
    - Unrepaired, if a child that was up says that no restart can mend it;
    - CancelledError, if it was cancelled: all children are then cancelled at once. This wins over all others.

    `__cause__` is the child's own exception; there is never an exception group.
    """

    def __init__(
        self,
        name: str,
        children: Sequence[Child],
        *,
        intensity: Intensity = _INTENSITY,
        backoff: Backoff = _BACKOFF,
        clock: Clock,
        observe: Observe,
    ) -> None:
        names = [child.name for child in children]
        if len(set(names)) < len(names):
            raise ValueError(f"supervisor {name}: children need different names, got {', '.join(names)}")
        self.path = name  # until a supervisor above writes the whole path
        self.observe = observe
        self._children = tuple(children)
        self._intensity = intensity
        self._backoff = backoff
        self._clock = clock
        self._history = CrashHistory(intensity)
        self._places: list[Place] = []
        self._deadline: asyncio.Task[None] | None = None
        # The one thing that `run` ever waits for: somebody is up, somebody ended, time is over, or drain was called.
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()

    def drain(self) -> None:
        self._stopping.set()
        self._changed.set()

    def children_state(self) -> dict[str, ChildState]:
        """A snapshot: each child by name, those of nested supervisors by their path below this one."""
        states: dict[str, ChildState] = {}
        for place in self._places:
            states[place.child.name] = ChildState(place.state, place.restarts)
            if isinstance(place.service, Supervisor):
                below = place.service.children_state()
                states.update({f"{place.child.name}/{name}": state for name, state in below.items()})
        return states

    async def run(self, started: Callable[[], None]) -> None:
        self._places = [self._place(child) for child in self._children]
        try:
            await self._serve_and_stop(started)
        except asyncio.CancelledError:
            # From outside, at whatever moment: while starting, serving, draining or escalating.
            await self._cancel_all()
            raise

    def _place(self, child: Child) -> Place:
        path = f"{self.path}/{child.name}"
        return Place(child, path, clock=self._clock, observe=self.observe, changed=self._changed.set)

    async def _serve_and_stop(self, started: Callable[[], None]) -> None:
        try:
            await self._serve(started)
        except Exception:
            await self._stop_all()
            raise
        await self._stop_all()

    async def _serve(self, started: Callable[[], None]) -> None:
        for place in self._places:
            if not self._stopping.is_set():
                place.start()
            while place.is_coming_up and not self._stopping.is_set():
                await self._change()
        if not self._stopping.is_set():
            started()
        while not self._stopping.is_set():
            await self._change()

    async def _change(self) -> None:
        """Wait until something happened below, and settle every child that has ended."""
        await self._changed.wait()
        self._changed.clear()
        for place in reversed(self._places):
            if place.has_ended:
                self._settle(place)

    def _settle(self, place: Place) -> None:
        """Decide what becomes of a child that has ended: rest, restart, or escalate by raising."""
        error = place.reap()
        is_stopping = self._stopping.is_set()
        if error is None and place.child.restart and not is_stopping:
            error = ChildReturned(f"{place.path} returned though nobody drained it")
        if error is not None:
            place.tell(EventKind.CRASHED, error)
        if error is None or is_stopping:
            place.rest()
        elif not place.was_up:
            what = f"{place.path} did not start: {error!r}"
            self._give_up(StartFailed(what, path=self.path, child_path=place.path), error)
        elif isinstance(error, Unrepairable):
            what = f"{place.path} can't be repaired: {error}"
            self._give_up(Unrepaired(what, path=self.path, child_path=place.path), error)
        elif place.child.restart:
            self._restart(place, error)
        else:
            place.rest()

    def _restart(self, place: Place, error: BaseException) -> None:
        crashes = self._history.add(place.child.name, self._clock.monotonic())
        if self._history.is_exceeded:
            limit = f"{self._intensity.restarts} restarts in {self._intensity.seconds} seconds"
            what = f"{self.path} granted {limit} and needed more; the last was for {place.path}: {error!r}"
            self._give_up(RestartIntensityExceeded(what, path=self.path, child_path=place.path), error)
        place.restart(self._backoff.seconds(crashes), error)

    def _give_up(self, failure: SupervisionFailed, error: BaseException) -> NoReturn:
        failure.__cause__ = error  # by hand, so that the observer sees the chain too
        tell(self.observe, KernelEvent(EventKind.GAVE_UP, self.path, failure))
        raise failure

    async def _stop_all(self) -> None:
        self.drain()  # also wakes the first `_change` below: an escalation may have left ended children unsettled
        for place in reversed(self._places):
            if place.is_alive:
                await self._stop(place)
            place.rest()

    async def _stop(self, place: Place) -> None:
        place.drain()
        self._deadline = asyncio.create_task(
            self._clock.sleep(place.child.drain_seconds), name=f"{place.path} deadline"
        )
        self._deadline.add_done_callback(lambda _: self._changed.set())
        while place.is_alive and not self._deadline.done():
            await self._change()
        if place.is_alive:
            place.tell(EventKind.CANCELLED)
            place.cancel()
        self._deadline.cancel()
        while self._is_anything_alive([place]):
            await self._change()

    def _is_anything_alive(self, places: Sequence[Place]) -> bool:
        has_deadline = self._deadline is not None and not self._deadline.done()
        return has_deadline or any(place.is_alive for place in places)

    async def _cancel_all(self) -> None:
        """Cancel what is alive and wait for it. Each further cancel is passed on; `run` raises the first."""
        self.drain()
        self._cancel_alive()
        while self._is_anything_alive(self._places):
            try:
                await self._change()
            except asyncio.CancelledError:
                self._cancel_alive()
        for place in reversed(self._places):
            place.rest()

    def _cancel_alive(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        for place in reversed(self._places):
            if place.is_alive:
                place.cancel()
