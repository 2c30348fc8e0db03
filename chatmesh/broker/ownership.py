"""Whose a session is, as far as a caller is concerned. Where nobody is asked who is calling, everything is everybody's and
nothing is read."""

from __future__ import annotations

import time
from enum import Enum, auto

from chatmesh.broker.cards import Cards
from chatmesh.protocol.callers import Caller
from chatmesh.protocol.cards import Card, new_nonce
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token

READ_SECONDS = 3.0
STORE_SECONDS = 5.0


class Whose(Enum):
    THEIRS = auto()
    OTHERS = auto()
    NOBODYS = auto()
    """Not begun, or erased."""


class Ownership:
    """Stateless. `is_on`: callers are told apart."""

    def __init__(self, cards: Cards, *, is_on: bool) -> None:
        self._cards = cards
        self.is_on = is_on

    async def look(self, caller: Caller, session_id: Token) -> Whose:
        """Raises BrokerError."""
        if not self.is_on:
            return Whose.THEIRS
        card = await self._cards.read(session_id, seconds=READ_SECONDS)
        if card is None:
            return Whose.NOBODYS
        return Whose.THEIRS if caller.may_see(session_id, card) else Whose.OTHERS

    async def is_theirs(self, caller: Caller, session_id: Token) -> bool:
        """Whether the caller may see the session. Raises BrokerError."""
        return await self.look(caller, session_id) is Whose.THEIRS

    async def begin(self, caller: Caller, session_id: Token) -> bool:
        """Before a message of the caller's is accepted: the session is theirs, from now on if it was nobody's. False: it is
        somebody else's. Raises BrokerError, CapacityError."""
        if not self.is_on:
            return True
        mine = Card(caller.tenant, caller.user, None, new_nonce(), iso(time.time()))
        card = await self._cards.begin(session_id, mine, seconds=STORE_SECONDS)
        return card.is_of(caller.tenant, caller.user)

    async def card(self, session_id: Token) -> Card | None:
        """The session's card; none is read where callers are not told apart. Raises BrokerError."""
        return await self._cards.read(session_id, seconds=READ_SECONDS) if self.is_on else None

    async def forget(self, session_id: Token, card: Card) -> None:
        """The session of that card was erased: it is nobody's. Raises BrokerError, CapacityError."""
        await self._cards.erase(session_id, card, seconds=STORE_SECONDS)
