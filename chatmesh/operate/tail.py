"""A session as it is written: every record once and in order, from now on or from its beginning, over restarts of the broker.

In: a session's name. Out: records, and what is to be said beside them. Read is behind the last sequence that was seen, so
whatever happens to the connection nothing is skipped and nothing comes twice. There is no consumer and no subscription: it
asks for more ten times a second while something comes, and every second where nothing does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from chatmesh.broker import Broker, Stored
from chatmesh.broker.sparse import sparse_page
from chatmesh.broker.streams import TRANSCRIPT
from chatmesh.errors import BrokerError, KeyMissingError, NotAuthorisedError, ProtocolError
from chatmesh.operate.streams import require, transcripts
from chatmesh.protocol import subjects
from chatmesh.protocol.records import TOMBSTONE, Record
from chatmesh.protocol.tokens import Token

PAGE_RECORDS = 64
PAGE_BYTES = 256 * 1024
READ_SECONDS = 2.0

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0

LOOK_SECONDS = 5.0
"""Between two looks whether it is the same stream still."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something that lies among the records and is none."""

    seq: int
    message_id: Token
    why: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Of the broker, not of the session."""

    what: str


Told = Record | Unreadable | Notice


async def follow(broker: Broker, session_id: Token, *, from_start: bool) -> AsyncIterator[Told]:
    """Without an end. Raises BrokerError where there is no transcript at first; KeyMissingError where the session is sealed
    and can't be opened here."""
    reading = _Reading(broker, session_id)
    await reading.begin(from_start=from_start)
    is_away, pause = False, FIRST_PAUSE_SECONDS
    while True:
        try:
            is_anew = await reading.look()
            page = await reading.page()
        except (KeyMissingError, NotAuthorisedError):
            raise
        except BrokerError as error:
            if not is_away:
                yield Notice(f"the broker is away: {error.what}")
            is_away = True
            reading.doubt()
            await asyncio.sleep(LONGEST_PAUSE_SECONDS)
            continue
        if is_away:
            is_away = False
            yield Notice("the broker is back")
        if is_anew:
            yield Notice("the transcript was made anew; what was in it is gone")
        for told, seq in page:
            if told is not None:
                yield told
            reading.seq = seq + 1
        pause = FIRST_PAUSE_SECONDS if page else min(2 * pause, LONGEST_PAUSE_SECONDS)
        if not reading.has_more:
            await asyncio.sleep(pause)


class _Reading:
    """Where it stands: `seq` is the next sequence to read from."""

    def __init__(self, broker: Broker, session_id: Token) -> None:
        self._broker = broker
        self._session_id = session_id
        self._birth = ""
        self._stream = TRANSCRIPT
        self._next_look = 0.0
        self.seq = 1
        self.has_more = False
        broker.connection.on_change(self.doubt)

    async def begin(self, *, from_start: bool) -> None:
        info = await self._where()
        self.seq = 1 if from_start else info["state"]["last_seq"] + 1
        self._next_look = time.monotonic() + LOOK_SECONDS

    def doubt(self) -> None:
        """It may be another stream by now."""
        self._next_look = 0.0

    async def look(self) -> bool:
        """Whether it is another stream than before; then it is read from its beginning."""
        if time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + LOOK_SECONDS
        before = self._stream, self._birth
        await self._where()
        is_another = (self._stream, self._birth) != before
        if is_another:
            self.seq = 1
        return is_another

    async def _where(self) -> dict[str, Any]:
        """JetStream's account of the session's stream. One that has not begun may begin in another part."""
        await transcripts(self._broker)
        home = await self._broker.homes.find(self._session_id, seconds=READ_SECONDS)
        info = await require(self._broker, home.stream)
        self._stream, self._birth = home.stream, str(info.get("created"))
        return info

    async def page(self) -> list[tuple[Record | Unreadable | None, int]]:
        """What follows, with its sequences; None for what was erased. Nothing is taken as read by that."""
        page = await sparse_page(
            self._broker.direct_get,
            self._stream,
            subjects.transcript_of(self._session_id),
            seq=self.seq,
            limit=PAGE_RECORDS,
            seconds=READ_SECONDS,
            max_bytes=PAGE_BYTES,
        )
        self.has_more = page.more
        if not page.messages:
            return []
        state = await self._broker.transcript.session(self._session_id, seconds=READ_SECONDS)
        return [(await self._told(stored, state.floor), stored.seq) for stored in page.messages]

    async def _told(self, stored: Stored, floor: int) -> Record | Unreadable | None:
        if stored.body == TOMBSTONE:
            return None
        session_id, message_id = subjects.of_transcript(stored.subject)
        try:
            record = await self._broker.vault.record(stored.body, session_id, message_id, stored.seq)
        except ProtocolError as error:
            return Unreadable(stored.seq, message_id, error.what)
        return None if record is None or record.token <= floor else record
