"""What answers took, from the transcript: the last record of each message has it.

In: a broker. Out: a `Bill`. Read are the names of all messages and one record of each, not the answers: 100 messages are
about 100 kB. What was erased or has expired is not there any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chatmesh.broker import Broker, Stored
from chatmesh.errors import ProtocolError
from chatmesh.operate.bill import Bill, Entry
from chatmesh.operate.pages import each_last
from chatmesh.operate.streams import transcripts
from chatmesh.protocol import subjects
from chatmesh.protocol.records import TOMBSTONE, Record
from chatmesh.protocol.spend import Spend
from chatmesh.protocol.timestamps import unix_seconds
from chatmesh.protocol.tokens import Token

PAGE_MESSAGES = 500
"""Subjects of one request: each may be 300 bytes long, and a request is no larger than a megabyte."""


@dataclass(frozen=True, slots=True)
class Usage:
    """`unfinished` messages have not ended: what they took is not known yet. `unreadable` ones hold what is no record."""

    bill: Bill
    unfinished: int
    unreadable: int


async def usage(broker: Broker, *, by: str, since: float, session_id: Token | None) -> Usage:
    """Of messages that ended at or after `since` (Unix seconds), of one session or of all. Raises BrokerError; KeyMissingError where
    sessions are sealed and can't be opened here."""
    pattern = subjects.TRANSCRIPT_ALL if session_id is None else subjects.transcript_of(session_id)
    names: list[str] = []
    for stream in await transcripts(broker):
        names += await broker.api.subjects(stream, pattern)
    names.sort()
    bill, unfinished, unreadable = Bill(by), 0, 0
    for at in range(0, len(names), PAGE_MESSAGES):
        for stored in await _last(broker, names[at : at + PAGE_MESSAGES]):
            try:
                record = await broker.vault.record(
                    stored.body, *subjects.of_transcript(stored.subject), stored.seq
                )
                entry = None if record is None else _entry(record)
            except ProtocolError:
                unreadable += 1
                continue
            if record is None:
                continue  # erased, and not yet overwritten
            if entry is None:
                unfinished += 1
            elif unix_seconds(entry.ended_at) >= since:
                bill.add(entry)
    return Usage(bill, unfinished, unreadable)


async def _last(broker: Broker, names: Sequence[str]) -> list[Stored]:
    return [stored for stored in await each_last(broker, names) if stored.body != TOMBSTONE]


def _entry(record: Record) -> Entry | None:
    """None for a message that has not ended. Raises ProtocolError for a bill that is none."""
    if record.final is None:
        return None
    metadata = record.final.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    return Entry(
        record.session_id,
        record.message_id,
        str(record.final.get("timestamp", "")),
        str(known.get("finish_reason", "")),
        Spend.parse(known.get("spend")),
    )
