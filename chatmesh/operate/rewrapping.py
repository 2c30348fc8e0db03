"""Data keys of sessions under the current key of the ring, so that an old one can go: only the wrapping changes, and nothing
that they have sealed.

In: a broker with a key ring. Out: how many were changed. Running it beside pods is harmless, and again too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from chatmesh.broker import Broker
from chatmesh.broker.streams import SESSIONS
from chatmesh.errors import KeyMissingError, ProtocolError
from chatmesh.operate.streams import require
from chatmesh.protocol import subjects
from chatmesh.protocol.cards import Card
from chatmesh.protocol.tokens import Token

WRITE_SECONDS = 10.0


@dataclass(slots=True)
class Rewrapped:
    """Sessions: `changed` now, `current` before, `unreadable` with this ring."""

    changed: int = 0
    current: int = 0
    unreadable: int = 0


async def rewrap(broker: Broker) -> Rewrapped:
    """Raises BrokerError."""
    ring = broker.vault.ring
    await require(broker, SESSIONS)
    done = Rewrapped()

    def change(session_id: Token, card: Card) -> Card | None:
        if card.key is None or ring.wraps(card):
            return None
        return ring.rewrapped(session_id, card)

    for subject in sorted(await broker.api.subjects(SESSIONS, subjects.CARD_ALL)):
        session_id = Token(subject.rpartition(".")[2])
        try:
            is_changed = await broker.cards.change(
                session_id, partial(change, session_id), seconds=WRITE_SECONDS
            )
        except (KeyMissingError, ProtocolError):
            done.unreadable += 1
            continue
        if is_changed:
            done.changed += 1
        else:
            done.current += 1
    return done
