"""How many messages of each user and each tenant are queued or being answered, in the whole mesh.

The work queue keeps both, by session, and cards say whose a session is. So nothing is written for it: once a second at most,
and only when somebody asks, the queue's subjects are listed (50 bytes a session with something in it) and cards are read of
sessions that were not there before. What this pod lets in since is added. Other pods' newest second is missing, and what
is on its way into the queue during a look, so the limits may be passed by what is let in within a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from chatmesh.broker import Backlog, Cards
from chatmesh.ingress.shares import Load, Tally
from chatmesh.protocol.cards import Card
from chatmesh.protocol.tokens import Token

FRESH_SECONDS = 1.0
READ_SECONDS = 3.0


class InFlight:
    """The tally of the last look, and what came since. One for a pod."""

    def __init__(
        self, backlog: Backlog, cards: Cards, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._backlog = backlog
        self._cards = cards
        self._clock = clock
        self._tally = Tally()
        self._known: dict[Token, Card] = {}
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    async def load(self, tenant: str, user: str) -> Load:
        """As that user meets it. True until the next await: whoever adds before it is seen by all who ask later. Raises
        BrokerError."""
        async with self._looking:
            if self._clock() - self._looked_at >= FRESH_SECONDS:
                await self._look()
        return self._tally.load(tenant, user)

    def add(self, tenant: str, user: str) -> Callable[[], None]:
        """This pod lets one in. Returns how to take that back; after another look there is nothing to take back."""
        self._tally.add(tenant, user)
        return partial(self._tally.remove, tenant, user)

    async def _look(self) -> None:
        queued = await self._backlog.by_session()
        new = [session_id for session_id in queued if session_id not in self._known]
        known = self._known | await self._cards.of(new, seconds=READ_SECONDS)
        # A session that was erased and begun by somebody else while it was busy keeps its first owner until it is idle.
        self._known = {session_id: known[session_id] for session_id in queued if session_id in known}
        self._tally = Tally()
        for session_id, messages in queued.items():
            card = known.get(session_id)
            self._tally.add(card.tenant if card else "", card.user if card else "", messages)
        self._looked_at = self._clock()
