"""The cards of sessions: read, begun by whoever comes first, kept as long as anything of their session is, erased.

A card is written where callers are told apart or payloads are sealed, and nowhere else. It is read anew for each request:
a session that was erased and begun again may have another owner.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from chatmesh.broker.api import ApiError, JetStreamApi
from chatmesh.broker.direct_get import DirectGet
from chatmesh.broker.publisher import Publisher
from chatmesh.broker.streams import SESSIONS
from chatmesh.errors import BrokerUnreachableError, FencedError, JetStreamMissingError, ProtocolError
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.cards import TOMBSTONE, Card
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger, metrics

log = get_logger("broker")

AGAIN_SECONDS = 0.05
"""While the stream has no leader, or somebody else writes the same card."""

NO_MESSAGE = 10037

FORGOTTEN_TTL = "60s"
"""How long the marker of an entry that left its owner's list lies about: longer than any read may lag."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A card as stored, or None in a tombstone's place. `seq` is what the next writer has to expect."""

    seq: int
    card: Card | None
    unix_seconds: float


_NONE = _Held(0, None, 0.0)

Seal = Callable[[Token, Card], Card]
"""Gives the session's card a data key."""

CARDS_OF_ONE_REQUEST = 500


class Cards:
    """Stateless. `refresh_seconds`: see `StreamSettings.cards_max_age_seconds`. `is_replicated`: reads are the leader's
    then, since any other server may be behind, and an old card would show a session to its former owner."""

    def __init__(
        self,
        api: JetStreamApi,
        direct_get: DirectGet,
        publisher: Publisher,
        *,
        refresh_seconds: float,
        is_replicated: bool,
    ) -> None:
        self._api = api
        self._direct_get = direct_get
        self._publisher = publisher
        self._refresh_seconds = refresh_seconds
        self._is_replicated = is_replicated

    async def read(self, session_id: Token, *, seconds: float) -> Card | None:
        """The session's card, or None: nobody has begun it, or it was erased. Raises BrokerError."""
        return (await self._held(session_id, seconds)).card

    async def of(self, session_ids: Sequence[Token], *, seconds: float) -> dict[Token, Card]:
        """The cards of those sessions that have one. From any server, which may be behind: for counting, not for opening
        doors. Raises BrokerError."""
        found: dict[Token, Card] = {}
        for at in range(0, len(session_ids), CARDS_OF_ONE_REQUEST):
            asked = [subjects.card(session_id) for session_id in session_ids[at : at + CARDS_OF_ONE_REQUEST]]
            for stored in await self._direct_get.each_last(SESSIONS, *asked, seconds=seconds):
                card = _decoded(stored.subject, stored.seq, stored.time, stored.body).card
                if card is not None:
                    found[Token(stored.subject.rpartition(".")[2])] = card
        return found

    async def begin(self, session_id: Token, card: Card, seal: Seal | None, *, seconds: float) -> Card:
        """The session's card, for whoever is about to accept a message: what is stored, or else `card`, now stored. The
        first writer wins, so what returns may be somebody else's. One that has lain too long is written again on the
        way; so is one without a data key, which `seal` adds. Raises BrokerError and CapacityError, as `Publisher.publish`
        does."""
        deadline = time.monotonic() + seconds
        while True:
            held = await self._held(session_id, seconds)
            if held.card == Card.unreadable():
                return held.card  # left as it is, for whoever can read it
            to_be = held.card or card
            if seal is not None and to_be.key is None:
                to_be = seal(session_id, to_be)
            if held.card == to_be and time.time() - held.unix_seconds < self._refresh_seconds:
                return to_be
            try:
                await self._write(session_id, to_be, held.seq, seconds)
                return to_be
            except FencedError:
                await self._wait(deadline)

    async def change(
        self, session_id: Token, change: Callable[[Card], Card | None], *, seconds: float
    ) -> bool:
        """Writes the session's card as `change` makes it of what is stored. False: there is none, or `change` returned None.
        Raises BrokerError and CapacityError, and what `change` raises."""
        deadline = time.monotonic() + seconds
        while True:
            held = await self._held(session_id, seconds)
            to_be = None if held.card is None else change(held.card)
            if to_be is None:
                return False
            try:
                await self._write(session_id, to_be, held.seq, seconds)
            except FencedError:
                await self._wait(deadline)
            else:
                return True

    async def erase(self, session_id: Token, card: Card, *, seconds: float) -> None:
        """Leaves a tombstone in the place of `card`, and nothing of it. One of another nonce is left alone: the session
        was begun anew meanwhile. Raises BrokerError and CapacityError."""
        deadline = time.monotonic() + seconds
        while True:
            held = await self._held(session_id, seconds)
            if held.card is None or held.card.nonce != card.nonce:
                return
            message_headers = headers.own() | {
                # Needs no permission but that to publish.
                headers.ROLLUP: "sub",
                headers.EXPECTED_SUBJECT_SEQUENCE: str(held.seq),
            }
            try:
                await self._publisher.publish(
                    subjects.card(session_id),
                    TOMBSTONE,
                    message_headers=message_headers,
                    deadline_seconds=seconds,
                )
            except FencedError:
                await self._wait(deadline)
                continue
            if held.card.owner is not None:
                await self._list(held.card.owner, session_id, {headers.TTL: FORGOTTEN_TTL}, seconds)
            return

    async def _write(self, session_id: Token, card: Card, after: int, seconds: float) -> None:
        """In its owner's list first: an entry too many is found out by the card, one too few by nobody."""
        if card.owner is not None:
            await self._list(card.owner, session_id, {}, seconds)
        await self._publisher.publish(
            subjects.card(session_id),
            card.encode(),
            message_headers=headers.own() | {headers.EXPECTED_SUBJECT_SEQUENCE: str(after)},
            deadline_seconds=seconds,
        )

    async def _list(self, owner: Token, session_id: Token, more: dict[str, str], seconds: float) -> None:
        await self._publisher.publish(
            subjects.owned(owner, session_id),
            b"",
            message_headers=headers.own() | more,
            deadline_seconds=seconds,
        )

    async def _held(self, session_id: Token, seconds: float) -> _Held:
        if self._is_replicated:
            return await self._held_by_leader(session_id, seconds)
        stored = await self._direct_get.last(SESSIONS, subjects.card(session_id), seconds=seconds)
        return _NONE if stored is None else _decoded(stored.subject, stored.seq, stored.time, stored.body)

    async def _held_by_leader(self, session_id: Token, seconds: float) -> _Held:
        deadline = time.monotonic() + seconds
        question = {"last_by_subj": subjects.card(session_id)}
        while True:
            try:
                answer = await self._api.call(f"STREAM.MSG.GET.{SESSIONS}", question, seconds=seconds)
                message = answer["message"]
                body = base64.b64decode(message.get("data", ""))
                return _decoded(message["subject"], message["seq"], message["time"], body)
            except ApiError as error:
                if error.code == NO_MESSAGE:
                    return _NONE
            except (JetStreamMissingError, BrokerUnreachableError):
                pass  # no leader at the moment
            await self._wait(deadline)

    async def _wait(self, deadline: float) -> None:
        if time.monotonic() >= deadline:
            raise BrokerUnreachableError(
                "a session's card could not be read or written in time",
                where=SESSIONS,
                mend="NATS is away or overloaded.",
            )
        await asyncio.sleep(AGAIN_SECONDS)


def _decoded(subject: str, seq: int, stamp: str, body: bytes) -> _Held:
    at = datetime.fromisoformat(stamp).timestamp()
    if body == TOMBSTONE:
        return _Held(seq, None, at)
    try:
        return _Held(seq, Card.decode(body), at)
    except ProtocolError as error:
        metrics.errors.labels("broker", "undecodable_card").inc()
        log.error("broker.undecodable_card", subject=subject, seq=seq, error=str(error))
        return _Held(seq, Card.unreadable(), at)
