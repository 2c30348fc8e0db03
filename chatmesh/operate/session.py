"""A session as the streams have it: every record and claim, what is there and can't be read, and what is queued.

In: a session's name. Out: one pass over its subjects by Direct Get, in the order of the stream, so that claims and
records belong together while the session is written on. It judges nothing: `invariants` does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from chatmesh.broker import Broker, HeldClaim, Stored
from chatmesh.broker.streams import REQUESTS
from chatmesh.broker.vault import message_id_of
from chatmesh.errors import ProtocolError
from chatmesh.operate.invariants import Violation
from chatmesh.operate.pages import READ_SECONDS, walk
from chatmesh.operate.streams import require, transcripts
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.records import TOMBSTONE, Claim, Erasure, Record
from chatmesh.protocol.tokens import Token


@dataclass(slots=True)
class StoredSession:
    """`records` are those that readers may see: what was erased is no part of the session. `tombstones` counts the
    messages that were."""

    session_id: Token
    records: list[Record] = field(default_factory=list)
    claims: list[HeldClaim] = field(default_factory=list)
    unreadable: list[Violation] = field(default_factory=list)
    tombstones: int = 0
    floor: int = 0

    @property
    def is_known(self) -> bool:
        """Whether anything is stored of it."""
        return bool(self.records or self.claims or self.unreadable or self.tombstones)


async def read_session(broker: Broker, session_id: Token) -> StoredSession:
    """Everything of the session. Raises BrokerError where the transcript is not there or does not answer, KeyMissingError
    where it is sealed and can't be opened here."""
    session = StoredSession(session_id)
    await transcripts(broker)
    home = await broker.homes.find(session_id, seconds=READ_SECONDS)
    async for stored in _all(broker, home.stream, subjects.session_log(session_id)):
        await _take(broker, session, stored)
    session.records = [record for record in session.records if record.token > session.floor]
    return session


async def queued_messages(broker: Broker, session_id: Token) -> set[Token]:
    """What of the session is queued or being answered: without requests to erase it, and without undecodable ones, which
    will be dead letters."""
    found: set[Token] = set()
    async for stored in _all(broker, REQUESTS, subjects.execute(session_id)):
        if headers.ERASE in stored.headers:
            continue
        with suppress(ProtocolError):
            found.add(message_id_of(stored.body))
    return found


async def _all(broker: Broker, stream: str, subject: str) -> AsyncIterator[Stored]:
    await require(broker, stream)
    async for stored in walk(broker, stream, subject):
        yield stored


async def _take(broker: Broker, session: StoredSession, stored: Stored) -> None:
    kind = stored.subject.split(".")[3]
    try:
        match kind:
            case "claim":
                session.claims.append(HeldClaim(Claim.decode(stored.body), stored.seq))
            case "erased":
                session.floor = Erasure.decode(stored.body, stored.seq).seq
            case "transcript" if stored.body == TOMBSTONE:
                session.tombstones += 1
            case "transcript":
                session_id, message_id = subjects.of_transcript(stored.subject)
                record = await broker.vault.record(stored.body, session_id, message_id, stored.seq)
                # Without one its key is destroyed: it was erased, and its tombstone is on its way.
                session.records += [] if record is None else [_of_subject(record, stored)]
    except ProtocolError as error:
        where = f"{stored.subject}, stream sequence {stored.seq}"
        session.unreadable.append(Violation("record", where, error.what))
        if kind == "claim":
            # It fences all the same.
            session.claims.append(HeldClaim(Claim.unknown(session.session_id), stored.seq))


def _of_subject(record: Record, stored: Stored) -> Record:
    if subjects.transcript(record.session_id, record.message_id) != stored.subject:
        raise ProtocolError(f"it says that it is of message {record.message_id} in {record.session_id}")
    return record
