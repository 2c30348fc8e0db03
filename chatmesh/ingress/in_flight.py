"""How many messages of each user and each tenant are queued or being answered, in the whole mesh.

The work queue keeps both, by session, and cards say whose a session is. So nothing is written for it: once a second at most,
and only when somebody asks, the queue's subjects are listed (50 bytes a session with something in it) and cards are read of
sessions that were not there before. What this pod has accepted since is added. Other pods' newest second is missing, so
the limit may be passed by what they let in within it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from chatmesh.broker import Backlog, Cards
from chatmesh.protocol.cards import Card
from chatmesh.protocol.tokens import Token

FRESH_SECONDS = 1.0
READ_SECONDS = 3.0

Key = tuple[str, str]
"""A tenant and its user; or a tenant and nobody, for all of it."""


class InFlight:
    """`counts` of the last look, and what came since. One for a pod."""

    def __init__(
        self, backlog: Backlog, cards: Cards, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._backlog = backlog
        self._cards = cards
        self._clock = clock
        self._counts: Counter[Key] = Counter()
        self._known: dict[Token, Card] = {}
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    async def count(self, tenant: str, user: str = "") -> int:
        """Of one user, or of the whole tenant. Raises BrokerError."""
        async with self._looking:
            if self._clock() - self._looked_at >= FRESH_SECONDS:
                await self._look()
        return self._counts[tenant, user]

    def add(self, tenant: str, user: str) -> None:
        """This pod has accepted one."""
        self._counts[tenant, user] += 1
        if user:
            self._counts[tenant, ""] += 1

    async def _look(self) -> None:
        queued = await self._backlog.by_session()
        new = [session_id for session_id in queued if session_id not in self._known]
        known = self._known | await self._cards.of(new, seconds=READ_SECONDS)
        # A session that was erased and begun by somebody else while it was busy keeps its first owner until it is idle.
        self._known = {session_id: known[session_id] for session_id in queued if session_id in known}
        self._counts = Counter()
        for session_id, card in self._known.items():
            self._counts[card.tenant, ""] += queued[session_id]
            if card.user:
                self._counts[card.tenant, card.user] += queued[session_id]
        self._looked_at = self._clock()
