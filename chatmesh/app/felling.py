"""In development: a worker that is felled in mid-answer, to be looked at. Its supervisor starts it anew, as after a crash."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from chatmesh.app.children import nested
from chatmesh.config import Config
from chatmesh.errors import CapacityError
from chatmesh.kernel import Child, Supervisor

FELLED_AT_MOST = 2
WITHIN_SECONDS = 60.0
"""The root grants three restarts in that time: one is left for what really crashes."""


class Fellable(Supervisor):
    """A subtree that ends when it is felled as one that was killed: nothing is drained, handed over or given back."""

    _task: asyncio.Task[None] | None = None

    async def run(self, started: Callable[[], None]) -> None:
        self._task = asyncio.current_task()
        try:
            await super().run(started)
        finally:
            self._task = None

    def fell(self) -> None:
        if self._task is not None:
            # Its supervisor has not asked for that, so it is a crash to it.
            self._task.cancel()


class Feller:
    """Knows the one that stands now. Only for a process with a single worker: the root would not grant a second one's
    restarts, too."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._standing: Fellable | None = None
        self._felled: deque[float] = deque(maxlen=FELLED_AT_MOST)

    def worker(self, build: Callable[[], list[Child]], *, drain_seconds: float) -> Child:
        """The worker's place in the tree."""
        return nested("worker", build, drain_seconds=drain_seconds, kind=Fellable, made=self._stand)

    def _stand(self, tree: Supervisor) -> None:
        self._standing = tree if isinstance(tree, Fellable) else None

    def fell(self) -> None:
        """Raises CapacityError where it was felled too often."""
        now = self._clock()
        if len(self._felled) == FELLED_AT_MOST and now - self._felled[0] < WITHIN_SECONDS:
            raise CapacityError(
                f"the worker was killed {FELLED_AT_MOST} times within {WITHIN_SECONDS:g} seconds",
                mend="Wait a minute: a worker that crashes too often ends the process.",
            )
        self._felled.append(now)
        if self._standing is not None:
            self._standing.fell()


def feller(config: Config, *, workers: int) -> Feller | None:
    """None: nobody is felled here."""
    is_whole = {"pod", "worker"} <= set(config.roles) and config.serves_http
    return Feller() if config.nats.embedded and is_whole and workers == 1 else None
