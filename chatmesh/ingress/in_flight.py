"""How many messages of each user and each tenant are queued or being answered, in the whole mesh.

The work queue keeps both, by session, and cards say whose a session is. So nothing is written for it: when somebody asks,
once a second at most, the queue's subjects are listed (50 bytes a session with something in it) and cards are read of
sessions that were not there before. What this pod lets in since is added. Other pods' newest second is missing, so the
limits may be passed by what they let in within it. What has ended within it is still there: before somebody is refused
for it, there is another look.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from chatmesh.broker import Backlog, Cards
from chatmesh.ingress.shares import Load, Tally
from chatmesh.protocol.cards import Card
from chatmesh.protocol.tokens import Token

FRESH_SECONDS = 1.0
READ_SECONDS = 3.0

PAUSE_SECONDS = 0.1
"""Between two looks, at least. One who is to be refused waits for it."""

PAUSE_LOOKS = 10
"""Between two looks, in times of what the last one took, up to FRESH_SECONDS: a long queue is not all that we read."""


@dataclass(slots=True, eq=False)
class Coming:
    """A message that was let in, until it is stored or isn't. `tally`: where it is counted."""

    session_id: Token
    tenant: str
    user: str
    tally: Tally
    is_left: bool = False


class InFlight:
    """The tally of the last look, and what came since. One for a pod."""

    def __init__(
        self, backlog: Backlog, cards: Cards, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._backlog = backlog
        self._cards = cards
        self._clock = clock
        self._tally = Tally()
        self._coming: set[Coming] = set()
        self._during: set[Coming] = set()
        """Those that were coming when the last look began, or began to since."""
        self._known: dict[Token, Card] = {}
        self._begun = 0
        self._ended = 0
        """The number of the last look that ended well; they are numbered from 1 as they begin."""
        self._looked_at = float("-inf")
        self._pause_seconds = PAUSE_SECONDS
        self._looking = asyncio.Lock()

    async def load(self, tenant: str, user: str) -> Load:
        """As that user meets it. True until the next await: whoever adds before it is seen by all who ask later. Raises
        BrokerError."""
        if self._is_old():
            async with self._looking:
                if self._is_old():
                    await self._look()
        return self._tally.load(tenant, user)

    async def look_again(self) -> None:
        """Returns after a look that began after the call, one for all who wait. Raises BrokerError."""
        begun = self._begun
        async with self._looking:
            if self._ended <= begun:
                await asyncio.sleep(max(0.0, self._looked_at + self._pause_seconds - self._clock()))
                await self._look()

    def add(self, session_id: Token, tenant: str, user: str) -> Coming:
        """This pod lets one in; say next what has become of it."""
        self._tally.add(tenant, user)
        coming = Coming(session_id, tenant, user, self._tally)
        self._coming.add(coming)
        self._during.add(coming)
        return coming

    def came(self, coming: Coming) -> None:
        """It is in the queue."""
        self._coming.discard(coming)

    def left(self, coming: Coming) -> None:
        """It is not, or had been before; or nobody knows, and the next look will see."""
        self._coming.discard(coming)
        coming.is_left = True
        if coming.tally is self._tally:
            self._tally.remove(coming.tenant, coming.user)

    def _is_old(self) -> bool:
        return self._clock() - self._looked_at >= FRESH_SECONDS

    async def _look(self) -> None:
        self._begun += 1
        number, began = self._begun, self._clock()
        self._during = set(self._coming)
        queued = await self._backlog.by_session()
        new = [session_id for session_id in queued if session_id not in self._known]
        known = self._known | await self._cards.of(new, seconds=READ_SECONDS)
        # A session that was erased and begun by somebody else while it was busy keeps its first owner until it is idle.
        self._known = {session_id: known[session_id] for session_id in queued if session_id in known}
        self._tally = self._count(queued)
        self._ended = number
        self._looked_at = self._clock()
        pause = max(PAUSE_SECONDS, PAUSE_LOOKS * (self._looked_at - began))
        self._pause_seconds = min(FRESH_SECONDS, pause)

    def _count(self, queued: dict[Token, int]) -> Tally:
        """What is in the queue, and what was on its way when that was listed. One on its way into a session that has
        something is taken for being there: else one that is would count twice."""
        tally = Tally()
        for session_id, messages in queued.items():
            card = self._known.get(session_id)
            tally.add(card.tenant if card else "", card.user if card else "", messages)
        for each in self._during:
            if each.session_id not in queued and not each.is_left:
                tally.add(each.tenant, each.user)
                each.tally = tally
        return tally
