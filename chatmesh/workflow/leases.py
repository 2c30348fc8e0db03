"""Keeps the leases of everything this worker holds: in-progress acks from a task of their own.

Never from a task that can block on a provider or the broker: a lease lost for that reason makes two workers pay for one
answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from chatmesh.broker import Delivery
from chatmesh.kernel import Service

PER_ACK_WAIT = 3
"""Signs of work within one `ack_wait`: two may be lost."""


class Leases(Service):
    """Deliveries by their place in the queue. The desk adds and removes, this service renews."""

    def __init__(self, ack_wait_seconds: float) -> None:
        self._interval_seconds = ack_wait_seconds / PER_ACK_WAIT
        self._held: dict[tuple[float, int], Delivery] = {}
        self._draining = asyncio.Event()

    def hold(self, delivery: Delivery) -> bool:
        """Takes a delivery. False: it is held already (delivered again meanwhile); the older one is kept and answers to
        the newest delivery from now on."""
        known = self._held.get(delivery.place)
        if known is not None:
            known.renew(delivery)
            return False
        self._held[delivery.place] = delivery
        return True

    def release(self, delivery: Delivery) -> None:
        self._held.pop(delivery.place, None)

    def release_all(self) -> None:
        """Nobody works on them any more: what was not answered comes back after `ack_wait`."""
        self._held.clear()

    def __len__(self) -> int:
        return len(self._held)

    async def run(self, started: Callable[[], None]) -> None:
        started()
        while not self._draining.is_set():
            for delivery in list(self._held.values()):
                await delivery.in_progress()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_seconds):
                    await self._draining.wait()

    def drain(self) -> None:
        self._draining.set()
