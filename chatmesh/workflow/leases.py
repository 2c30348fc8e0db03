"""Keeps the leases of everything this worker holds: in-progress acks from a task of their own.

Never from a task that can block on a provider or the broker: a lease lost for that reason makes two workers pay for one
answer. What is held is also written down, so that others need not wait for `ack_wait` when this worker dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from chatmesh.broker import Delivery, LeaseBook
from chatmesh.errors import BrokerError
from chatmesh.kernel import Service
from chatmesh.telemetry import get_logger
from chatmesh.workflow.claims import Identity

log = get_logger("workflow")

PER_ACK_WAIT = 3
"""Signs of work within one `ack_wait`: two may be lost."""

FIRST_BOOK_SECONDS = 0.02
BOOK_SECONDS = 0.1
"""How soon the book is brought up to date after a change, and how often at most. An answer that is over sooner is hardly
ever lost."""


class Leases(Service):
    """Deliveries by their place in the queue. The desk adds and removes, this service renews."""

    def __init__(self, ack_wait_seconds: float, book: LeaseBook, identity: Identity) -> None:
        self._interval_seconds = ack_wait_seconds / PER_ACK_WAIT
        self._book = book
        self._identity = identity
        self._held: dict[tuple[float, int], Delivery] = {}
        self._written: list[str] = []
        self._changed = asyncio.Event()
        self._draining = asyncio.Event()

    def hold(self, delivery: Delivery) -> bool:
        """Takes a delivery. False: it is held already (delivered again meanwhile); the older one is kept and answers to
        the newest delivery from now on."""
        known = self._held.get(delivery.place)
        if known is not None:
            known.renew(delivery)
            self._changed.set()
            return False
        self._held[delivery.place] = delivery
        self._changed.set()
        return True

    def release(self, delivery: Delivery) -> None:
        self._held.pop(delivery.place, None)
        self._changed.set()

    def release_all(self) -> None:
        """Nobody works on them any more: what was not answered comes back after `ack_wait`."""
        self._held.clear()
        self._changed.set()

    def __len__(self) -> int:
        return len(self._held)

    async def run(self, started: Callable[[], None]) -> None:
        await self._free_former_life()
        started()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_book(), name="lease-book")
            while not self._draining.is_set():
                for delivery in list(self._held.values()):
                    await delivery.in_progress()
                await self._pause(self._interval_seconds)

    def drain(self) -> None:
        self._draining.set()
        self._changed.set()

    async def _keep_book(self) -> None:
        while not self._draining.is_set():
            await self._changed.wait()
            await self._pause(FIRST_BOOK_SECONDS)
            self._changed.clear()
            await self._write()
            await self._pause(BOOK_SECONDS)
        await self._write()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._draining.wait()

    async def _write(self) -> None:
        held = [delivery.reply for delivery in self._held.values()]
        if held == self._written:
            return
        if await self._book.write(self._identity.worker_id, self._identity.boot, held):
            self._written = held
        else:
            # Away just now: what is not written down when it is back would not be until something changes.
            self._changed.set()

    async def _free_former_life(self) -> None:
        """What a worker of this name held before it died belongs to nobody: no living one has the name, or we would not
        have started."""
        with suppress(BrokerError):
            freed = await self._book.free(self._identity.worker_id, lambda boot: boot != self._identity.boot)
            if freed:
                log.info("workflow.leases_freed", freed=freed)
