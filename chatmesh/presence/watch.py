"""Each worker watches one other, the next one by name, so that a dead one is noticed in little more than half a second.

Asking for its health costs four requests a second, however many workers there are. Only the server's word that nobody
listens any more counts: silence may be a busy loop or a broken network, and there `ack_wait` decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from chatmesh.broker import Connection, LeaseBook, Requests
from chatmesh.errors import BrokerError
from chatmesh.kernel import Service
from chatmesh.presence.roster import Roster
from chatmesh.protocol import subjects
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger, metrics

log = get_logger("presence")

LOOK_SECONDS = 0.25

SURE_SECONDS = 0.3
"""Between two looks that have to agree: a responder that crashed, or a connection that was cut, is back in a tenth of a
second."""

ANSWER_SECONDS = 1.0


class WorkerWatch(Service):
    """Asks its neighbour; frees what a dead one held."""

    def __init__(
        self, connection: Connection, requests: Requests, book: LeaseBook, roster: Roster, worker_id: Token
    ) -> None:
        self._connection = connection
        self._requests = requests
        self._book = book
        self._roster = roster
        self._id = worker_id
        self._draining = asyncio.Event()

    async def run(self, started: Callable[[], None]) -> None:
        started()
        while not self._draining.is_set():
            found = await self._look()
            # Where one died its neighbour may have, too: the same machine.
            await self._pause(0.0 if found else LOOK_SECONDS)

    def drain(self) -> None:
        self._draining.set()

    async def _look(self) -> bool:
        """Whether a dead one was found."""
        neighbour = self._roster.next_worker(self._id, time.monotonic())
        if neighbour is None or not await self._is_gone(neighbour.id):
            return False
        await self._pause(SURE_SECONDS)
        if self._draining.is_set() or not await self._is_gone(neighbour.id):
            return False
        self._roster.lose("worker", neighbour.id, neighbour.boot)
        metrics.lost_workers.inc()
        with suppress(BrokerError):
            freed = await self._book.free(neighbour.id, lambda boot: boot == neighbour.boot)
            log.warning("presence.worker_lost", worker_id=neighbour.id, boot=neighbour.boot, freed=freed)
        return True

    async def _is_gone(self, worker_id: Token) -> bool:
        """Whether the server knows nobody under that name. Not just after a reconnect of ours: others come back too."""
        if not (self._connection.is_connected and self._connection.is_settled):
            return False
        with suppress(BrokerError):
            return await self._requests.is_unheard(subjects.worker_health(worker_id), seconds=ANSWER_SECONDS)
        return False

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._draining.wait()
