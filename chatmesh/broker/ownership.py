"""Whose a session is, as far as a caller is concerned. Where nobody is asked who is calling, everything is everybody's and
nothing is read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum, auto

from chatmesh.broker.cards import Cards
from chatmesh.broker.vault import Vault
from chatmesh.errors import KeyMissingError, ProtocolError
from chatmesh.protocol.callers import Caller
from chatmesh.protocol.cards import Card, new_nonce
from chatmesh.protocol.sealing import DataKey
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token

READ_SECONDS = 3.0
STORE_SECONDS = 5.0


class Whose(Enum):
    THEIRS = auto()
    OTHERS = auto()
    NOBODYS = auto()
    """Not begun, or erased."""


@dataclass(frozen=True, slots=True)
class Begun:
    """`is_theirs`: the session is the caller's. `key` seals what is said in it; None: nothing is sealed."""

    is_theirs: bool
    key: DataKey | None = None


class Ownership:
    """Stateless. `is_on`: callers are told apart. Cards are kept where they are, or where payloads are sealed."""

    def __init__(self, cards: Cards, vault: Vault, *, is_on: bool) -> None:
        self._cards = cards
        self._vault = vault
        self.is_on = is_on

    @property
    def _has_cards(self) -> bool:
        return self.is_on or self._vault.is_on

    async def look(self, caller: Caller, session_id: Token) -> Whose:
        """Raises BrokerError."""
        if not self.is_on:
            return Whose.THEIRS
        card = await self._cards.read(session_id, seconds=READ_SECONDS)
        if card is None:
            return Whose.NOBODYS
        is_theirs = caller.may_see(session_id, card) and self._vault.is_genuine(session_id, card)
        return Whose.THEIRS if is_theirs else Whose.OTHERS

    async def is_theirs(self, caller: Caller, session_id: Token) -> bool:
        """Whether the caller may see the session. Raises BrokerError."""
        return await self.look(caller, session_id) is Whose.THEIRS

    async def begin(self, caller: Caller, session_id: Token) -> Begun:
        """Before a message of the caller's is accepted: the session is theirs, from now on if it was nobody's. Raises
        BrokerError (KeyMissingError where this process can't seal what is said in it), CapacityError."""
        if not self._has_cards:
            return Begun(True)
        mine = Card(caller.tenant, caller.user, None, new_nonce(), iso(time.time()))
        seal = self._vault.ring.with_new_key if self._vault.is_on else None
        card = await self._cards.begin(session_id, mine, seal, seconds=STORE_SECONDS)
        if self.is_on and not card.is_of(caller.tenant, caller.user):
            return Begun(False)
        if not self._vault.is_on:
            return Begun(True)
        try:
            return Begun(True, self._vault.learn(session_id, card))
        except ProtocolError as error:
            raise KeyMissingError(error.what, where=session_id, mend="Erase the session.") from error

    async def card(self, session_id: Token) -> Card | None:
        """The session's card, if there are any. Raises BrokerError."""
        return await self._cards.read(session_id, seconds=READ_SECONDS) if self._has_cards else None

    async def forget(self, session_id: Token, card: Card) -> None:
        """The session of that card was erased: it is nobody's, and what was sealed is unreadable. Raises BrokerError,
        CapacityError."""
        await self._cards.erase(session_id, card, seconds=STORE_SECONDS)
        self._vault.forget(session_id, card)
