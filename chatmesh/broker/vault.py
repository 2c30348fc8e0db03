"""The data keys of sessions: from their cards, by the key ring; and what they seal, opened.

A key is kept in memory for a minute at most, so that one whose session was erased is nowhere soon. The ring never leaves
the process, and data keys leave it wrapped.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from chatmesh.broker.cards import Cards
from chatmesh.broker.ring_file import RingFile
from chatmesh.errors import KeyMissingError, ProtocolError
from chatmesh.protocol import headers, sealing
from chatmesh.protocol.cards import Card
from chatmesh.protocol.keyring import KeyRing
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.records import Record
from chatmesh.protocol.sealing import DataKey, Kind, Sealed
from chatmesh.protocol.tokens import Token

KEPT_SECONDS = 60.0
MAX_KEPT = 16_384
"""A data key takes some 600 bytes; who comes back later costs a read of 0.3 ms."""

READ_SECONDS = 3.0

T = TypeVar("T", WorkflowRequest, Sealed)


@dataclass(frozen=True, slots=True)
class Opened:
    """A request, and the key that its answer is to be sealed with; None: it came in clear, and so does its answer."""

    request: WorkflowRequest
    key: DataKey | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    """A key as its card brought it. `owner`: the tenant and user of the card. `since` is monotonic."""

    key: DataKey
    owner: tuple[str, str]
    since: float


class Vault:
    """One for the process. Without a ring it seals nothing, and opens nothing that is sealed. `accepts_clear`: with one, it
    takes bodies in clear all the same."""

    def __init__(self, cards: Cards, ring: RingFile | None, *, accepts_clear: bool) -> None:
        self._cards = cards
        self._ring = ring
        self.takes_clear = ring is None or accepts_clear
        self._kept: OrderedDict[tuple[Token, str], _Kept] = OrderedDict()

    @property
    def is_on(self) -> bool:
        return self._ring is not None

    @property
    def ring(self) -> KeyRing:
        """As its file is now. Raises KeyMissingError where none is configured."""
        if self._ring is None:
            raise KeyMissingError(
                "this is sealed, and there is no key ring",
                where="sealing.key_ring",
                mend="Set it to the key ring of the processes that have sealed it.",
            )
        return self._ring.value

    # --- keys --------------------------------------------------------------------------------------------------------

    def learn(self, session_id: Token, card: Card) -> DataKey:
        """The data key of a card that was just read. Raises KeyMissingError, and ProtocolError for a changed card."""
        key = self.cached(session_id, card.nonce)
        if key is not None and self._kept[session_id, key.id].owner == (card.tenant, card.user):
            return key
        key = self.ring.data_key(session_id, card)
        self._kept[session_id, key.id] = _Kept(key, (card.tenant, card.user), time.monotonic())
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return key

    def is_genuine(self, session_id: Token, card: Card) -> bool:
        """False for a card that names another owner than the one who got its key. True also where that can't be known:
        nothing of the session can be read here then."""
        if card.key is None or not self.is_on:
            return True
        try:
            self.learn(session_id, card)
        except ProtocolError:
            return False
        except KeyMissingError:
            return True
        return True

    def cached(self, session_id: Token, key_id: str) -> DataKey | None:
        """Without asking anybody."""
        kept = self._kept.get((session_id, key_id))
        if kept is None:
            return None
        if time.monotonic() - kept.since < KEPT_SECONDS:
            return kept.key
        del self._kept[session_id, key_id]
        return None

    async def key(self, session_id: Token, key_id: str, *, fresh: bool = False) -> DataKey | None:
        """None: it is destroyed, and what it has sealed is erased. `fresh`: as of now, and not of a minute ago. Raises
        KeyMissingError where the ring lacks what wraps it, ProtocolError for a changed card, BrokerError."""
        key = None if fresh else self.cached(session_id, key_id)
        if key is not None:
            return key
        ring = self.ring
        card = await self._cards.read(session_id, seconds=READ_SECONDS)
        if card is None or card.nonce != key_id:
            return None
        # A ring that lacks the key may have it a moment later.
        is_known = card.key is not None and card.key.get("id") in ring.keys
        if not is_known and self._ring is not None:
            await self._ring.look()
        return self.learn(session_id, card)

    async def is_kept(self, key: DataKey) -> bool:
        """Whether the key is its session's still. Raises BrokerError."""
        card = await self._cards.read(key.session_id, seconds=READ_SECONDS)
        return card is not None and card.nonce == key.id

    def forget(self, session_id: Token, card: Card) -> None:
        self._kept.pop((session_id, card.nonce), None)

    # --- bodies ------------------------------------------------------------------------------------------------------

    def check_clear(self) -> None:
        """Raises ProtocolError where a body in clear is not taken: anybody at the broker could have written it."""
        if not self.takes_clear:
            raise ProtocolError("it is in clear, and sealing.accept_clear is false", where="sealing")

    async def request(self, body: bytes, session_id: Token, *, fresh: bool = False) -> Opened:
        """A request of that session. `fresh`: its key is there still. Raises ProtocolError for what is none, was changed, or
        can't be opened by anybody any more; KeyMissingError where it can't be opened here; BrokerError."""
        if not sealing.is_sealed(body):
            return self.clear_request(body, session_id, {})
        sealed = _of(session_id, sealing.parse(body))
        key = await self.key(session_id, sealed.key_id, fresh=fresh)
        if key is None:
            raise ProtocolError("its key is destroyed: its session was erased, or its card is lost")
        request = WorkflowRequest.decode(key.open(sealed, Kind.REQUEST))
        _check_ids(sealed, request.session_id, request.message_id)
        return Opened(request, key)

    def clear_request(self, body: bytes, session_id: Token, head: Mapping[str, str]) -> Opened:
        """The same for one that is not sealed. One to erase the session says nothing, and is never sealed."""
        if headers.ERASE not in head:
            self.check_clear()
        return Opened(_of(session_id, WorkflowRequest.decode(body)))

    async def record(self, body: bytes, session_id: Token, message_id: Token, seq: int) -> Record | None:
        """A record of the transcript; None for one whose key is destroyed. Raises as `request`."""
        if not sealing.is_sealed(body):
            record = Record.decode(body, seq)
            self.check_clear_record(record)
            return record
        sealed = _of(session_id, sealing.parse(body))
        key = await self.key(session_id, sealed.key_id)
        if key is None:
            return None
        record = Record.decode(key.open(sealed, Kind.RECORD), seq)
        _check_ids(sealed, record.session_id, record.message_id)
        if record.message_id != message_id:
            raise ProtocolError("it is of another message than its subject says", where="message_id")
        return record

    def live(self, sealed: Sealed) -> Record | None:
        """A sealed record on its way; None: its key is not at hand, and the transcript has it too. Raises ProtocolError."""
        key = self.cached(sealed.session_id, sealed.key_id)
        if key is None:
            return None
        record = Record.decode(key.open(sealed, Kind.LIVE))
        _check_ids(sealed, record.session_id, record.message_id)
        return record

    def check_clear_record(self, record: Record) -> None:
        """One that says nothing may come in clear: that of an erased session, whose key is destroyed."""
        if record.chunks or record.request is not None:
            self.check_clear()


def message_id_of(body: bytes) -> Token:
    """Of a request, without opening it. Raises ProtocolError."""
    if sealing.is_sealed(body):
        return sealing.parse(body).message_id
    return WorkflowRequest.decode(body).message_id


def _of(session_id: Token, found: T) -> T:
    if found.session_id != session_id:
        raise ProtocolError("session_id is not the one of the subject", where="session_id")
    return found


def _check_ids(sealed: Sealed, session_id: Token, message_id: Token) -> None:
    if (sealed.session_id, sealed.message_id) != (session_id, message_id):
        raise ProtocolError("it is of another message than the line in front of it says", where="message_id")
