"""Tells the registry which sessions this pod has readers of.

The first reader of a session makes an entry; a while after the last one left it is released, so that a reload costs
nothing. Entries are written again after a reconnect, since the registry may have been made anew meanwhile. Nobody waits
for a registry that does not answer: what was sent before it heard of a session is in the transcript.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from chatmesh.broker import Connection, Registry
from chatmesh.errors import BrokerError, CapacityError, ChatmeshError, PublishRefusedError
from chatmesh.kernel import Service
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger, metrics

log = get_logger("presence")

WAIT_SECONDS = 0.25
"""For how long a reader's beginning waits for its entry, which takes 0.2 ms on one server and some on three."""

PUT_SECONDS = 2.0
LINGER_SECONDS = 10.0
"""How long an entry outlives the last reader: longer than a reload or a reconnect takes."""

TICK_SECONDS = 1.0

REFUSED_SECONDS = 0.1
"""How long a tick goes on telling a registry that refuses: a tenth of the time, however many readers there are."""

REFRESH_SECONDS = 12 * 3600
"""Entries expire after two days, readers do not."""


class Holdings(Service):
    """Counts readers by session, keeps the registry's entries in step."""

    def __init__(self, connection: Connection, registry: Registry, *, pod_id: Token, boot: str) -> None:
        self._connection = connection
        self._registry = registry
        self._pod_id = pod_id
        self._boot = boot
        self._readers: dict[Token, int] = {}
        self._leaving: dict[Token, float] = {}
        self._untold: dict[Token, None] = {}
        """Sessions with readers whose entry is not stored yet, in the order in which they came."""
        self._is_draining = False
        self._wake = asyncio.Event()
        self._is_stale = False
        self._next_refresh = time.monotonic() + REFRESH_SECONDS
        self._on_told: Callable[[], None] = lambda: None
        self._on_late: Callable[[Token], None] = lambda _: None
        connection.on_change(self.tell_again)

    async def hold(self, session_id: Token) -> None:
        """One more reader. Returns once the registry knows of the session, or did not answer at once: then it is told
        later, and whoever listens to that hears of it."""
        count = self._readers.get(session_id, 0)
        self._readers[session_id] = count + 1
        if count == 0 and self._leaving.pop(session_id, None) is None:
            self._untold[session_id] = None
            if await self._put(session_id, WAIT_SECONDS):
                self._untold.pop(session_id, None)
            else:
                self._wake.set()

    def release(self, session_id: Token) -> None:
        """One reader less."""
        count = self._readers[session_id] - 1
        if count:
            self._readers[session_id] = count
        else:
            del self._readers[session_id]
            if session_id in self._untold:
                del self._untold[session_id]
            else:
                self._leaving[session_id] = time.monotonic() + LINGER_SECONDS

    def on_told(self, listener: Callable[[], None], *, late: Callable[[Token], None]) -> None:
        """Calls `listener` when everything was written again, and `late` with a session whose entry came only behind its
        reader: what was sent in between went elsewhere. They must only signal."""
        self._on_told = listener
        self._on_late = late

    async def run(self, started: Callable[[], None]) -> None:
        started()
        while not self._is_draining:
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            if self._connection.is_connected:
                await self._again()
                await self._tell_late()
                await self._release_due(time.monotonic())

    def drain(self) -> None:
        self._is_draining = True
        self._wake.set()

    def tell_again(self) -> None:
        """The registry may have lost our entries: write them again, soon."""
        self._is_stale = True
        self._wake.set()

    async def _again(self) -> None:
        now = time.monotonic()
        if not self._is_stale and now < self._next_refresh:
            return
        self._next_refresh = now + REFRESH_SECONDS
        self._is_stale = False
        for session_id in list(self._readers):
            await self._put(session_id, PUT_SECONDS)
        self._on_told()

    async def _tell_late(self) -> None:
        until = time.monotonic() + REFUSED_SECONDS
        is_refused = False
        for session_id in list(self._untold):
            if session_id not in self._untold:
                continue  # its reader has left meanwhile, or its own try succeeded
            try:
                await self._registry.hold(session_id, self._pod_id, self._boot, seconds=PUT_SECONDS)
            except PublishRefusedError as error:
                # Whoever answers the session just now has heard it all the same, and of others if they told it: each has its
                # turn, the longest untold first.
                if session_id in self._untold:
                    del self._untold[session_id]
                    self._untold[session_id] = None
                if not is_refused:  # a line of the log for all of them
                    _note_failure(session_id, error)
                is_refused = True
                if time.monotonic() >= until:
                    return
            except (BrokerError, CapacityError) as error:
                _note_failure(session_id, error)
                return  # the others would fare no better; the next tick tries again
            else:
                if session_id in self._untold:
                    del self._untold[session_id]
                    self._on_late(session_id)

    async def _release_due(self, now: float) -> None:
        # In the order in which they were left, so the first that is not due ends the walk.
        for session_id, due in list(self._leaving.items()):
            if due > now:
                return
            del self._leaving[session_id]
            with suppress(BrokerError, CapacityError):
                await self._registry.release(session_id, self._pod_id, self._boot, seconds=PUT_SECONDS)
            if session_id in self._readers:  # somebody came while it was being released
                self._untold[session_id] = None
                self._wake.set()

    async def _put(self, session_id: Token, seconds: float) -> bool:
        """False: the registry did not say that it has the entry."""
        try:
            await self._registry.hold(session_id, self._pod_id, self._boot, seconds=seconds)
        except (BrokerError, CapacityError) as error:
            _note_failure(session_id, error)
            return False
        return True


def _note_failure(session_id: Token, error: ChatmeshError) -> None:
    metrics.errors.labels("presence", "registry").inc()
    log.warning("presence.not_registered", session_id=session_id, error=str(error))
