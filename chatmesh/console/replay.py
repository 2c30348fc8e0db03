"""A session's answers as they were written: every piece with its time, page by page.

In: a session. Out: pieces; with their words only where whoever asks may read the session, and else with their lengths.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from chatmesh.broker import Broker, Stored
from chatmesh.broker.sparse import sparse_page
from chatmesh.errors import ProtocolError
from chatmesh.operate.pages import READ_SECONDS
from chatmesh.protocol import subjects
from chatmesh.protocol.records import TOMBSTONE, Record
from chatmesh.protocol.timestamps import unix_time
from chatmesh.protocol.tokens import Token

PAGE_RECORDS = 64
PAGE_BYTES = 256 * 1024


async def read(
    broker: Broker, session_id: Token, *, after: int, is_readable: bool
) -> tuple[list[dict[str, Any]], int | None] | None:
    """Pieces behind the stream sequence `after`, and the `after` of the next page if there is one. None: there is no such
    session. Raises BrokerError; KeyMissingError where it is sealed and can't be opened here."""
    state = await broker.transcript.session(session_id, seconds=READ_SECONDS)
    if state.claim is None:
        return None
    home = await broker.homes.find(session_id, seconds=READ_SECONDS)
    page = await sparse_page(
        broker.direct_get,
        home.stream,
        subjects.transcript_of(session_id),
        seq=after + 1,
        limit=PAGE_RECORDS,
        seconds=READ_SECONDS,
        max_bytes=PAGE_BYTES,
    )
    found: list[dict[str, Any]] = []
    for stored in page.messages:
        record = await _record(broker, stored)
        if record is not None and record.token > state.floor:
            with suppress(ProtocolError):  # chunks that can't be read are none, and are found out only here
                found += pieces(record, stored.unix_seconds, is_readable=is_readable)
    return found, page.messages[-1].seq if page.more and page.messages else None


def pieces(record: Record, stored_at: float, *, is_readable: bool) -> list[dict[str, Any]]:
    """Of one record. `at` is in milliseconds since the Unix epoch: as the worker says, and not later than it was stored."""
    found = []
    if record.request is not None:
        found.append(_asked(record, stored_at, is_readable=is_readable))
    if record.reset is not None:
        found.append(_piece(record, "reset", stored_at))
    for chunk in record.chunks:
        at = min(unix_time(chunk.get("timestamp")) or stored_at, stored_at)
        if chunk.get("chunk_type") == "content" and chunk.get("chunk"):
            said = str(chunk["chunk"])
            found.append(_piece(record, "answer", at, said if is_readable else None, len(said)))
        if chunk.get("is_final") is True:
            metadata = chunk.get("metadata")
            reason = metadata.get("finish_reason") if isinstance(metadata, dict) else None
            found.append(_piece(record, "end", at) | {"finish_reason": str(reason or "ended")})
    return found


def _asked(record: Record, stored_at: float, *, is_readable: bool) -> dict[str, Any]:
    request = record.request or {}
    said = str(request.get("message", ""))
    at = min(unix_time(request.get("timestamp")) or stored_at, stored_at)
    return _piece(record, "question", at, said if is_readable else None, len(said))


def _piece(
    record: Record, kind: str, at: float, text: str | None = None, characters: int = 0
) -> dict[str, Any]:
    return {
        "kind": kind,
        "message_id": record.message_id,
        "at": round(at * 1000),
        "attempt": record.attempt,
        "characters": characters,
        "text": text,
        "finish_reason": None,
    }


async def _record(broker: Broker, stored: Stored) -> Record | None:
    """None for what is none, or was erased."""
    if stored.body == TOMBSTONE:
        return None
    session_id, message_id = subjects.of_transcript(stored.subject)
    try:
        return await broker.vault.record(stored.body, session_id, message_id, stored.seq)
    except ProtocolError:
        return None
