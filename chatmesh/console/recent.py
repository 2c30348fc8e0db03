"""What happened to the latest messages, read on from the transcript at each look.

In: a broker, and the queue as it was just read. Out: rows of the timeline. What a look costs is bounded: claims of some
sequences, the first record of some messages, and the last records of those that run, by one request.
"""

from __future__ import annotations

from contextlib import suppress

from chatmesh.broker import Broker, Stored
from chatmesh.console.timeline import Key, Timeline, Told, row
from chatmesh.errors import KeyMissingError, ProtocolError
from chatmesh.operate.members import Members
from chatmesh.operate.pages import READ_SECONDS, each_last, walk
from chatmesh.operate.queue import Queue, Stage, Unanswered
from chatmesh.protocol import subjects
from chatmesh.protocol.chunks import FINAL
from chatmesh.protocol.records import TOMBSTONE, Claim, Record
from chatmesh.protocol.timestamps import unix_time
from chatmesh.protocol.tokens import Token, is_token

SEQUENCES = 1024
"""Of the transcript, looked through for claims at one look; of more the latest."""

FIRSTS = 16
"""Messages whose first record is read at one look."""

FOUND = 8
"""Running messages of which no claim was seen, since it is older; looked for at one look."""


class Recent:
    """Remembers where it has read to."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._timeline = Timeline()
        self._read_to: dict[str, int] = {}

    async def read_on(self, queue: Queue, members: Members) -> list[dict[str, object]]:
        """Rows, the latest message first. Raises BrokerError."""
        fills = queue.transcripts
        if any(fill.stored < self._read_to.get(fill.stream, 0) for fill in fills):
            self._timeline, self._read_to = Timeline(), {}  # a stream was made anew
        queued = self._note_queued(queue)
        for fill in fills:
            await self._read_claims(fill.stream, fill.stored)
        await self._find(queue.requests)
        for told in self._timeline.unbegun[-FIRSTS:]:
            await self._read_first(told)
        await self._read_last()
        if queue.unanswered <= len(queue.requests):
            self._timeline.left_queue(queued)
        self._timeline.read_by(await self._readers(members))
        return [row(told) for told in self._timeline.latest_first()]

    def _note_queued(self, queue: Queue) -> set[Key]:
        found = set()
        for each in queue.requests:
            if not each.erases and is_token(each.session_id) and is_token(each.message_id or ""):
                session_id, message_id = Token(each.session_id), Token(each.message_id or "")
                self._timeline.queued(session_id, message_id, unix_time(each.queued_at))
                found.add((session_id, message_id))
        return found

    async def _read_claims(self, stream: str, last: int) -> None:
        first = max(self._read_to.get(stream, 0), last - SEQUENCES) + 1
        if first > last:
            return
        async for stored in walk(self._broker, stream, subjects.CLAIM_ALL, seq=first):
            self._claimed(stored)
            last = max(last, stored.seq)
        self._read_to[stream] = last

    def _claimed(self, stored: Stored) -> None:
        with suppress(ProtocolError):  # nobody's claim: workers pass over it as well
            self._timeline.claimed(Claim.decode(stored.body), stored.seq, stored.unix_seconds)

    async def _find(self, requests: tuple[Unanswered, ...]) -> None:
        """Claims of what runs since before the first look."""
        running = {told.key for told in self._timeline.unfinished if told.attempts}
        wanted = [
            each.session_id
            for each in requests
            if each.stage is Stage.RUNNING and (each.session_id, each.message_id) not in running
        ]
        for session_id in wanted[:FOUND]:
            subject = subjects.claim(Token(session_id))
            stream = await self._stream(Token(session_id))
            stored = await self._broker.direct_get.last(stream, subject, seconds=READ_SECONDS)
            if stored is not None and stored.seq <= self._read_to.get(stream, 0):
                self._claimed(stored)

    async def _stream(self, session_id: Token) -> str:
        return (await self._broker.homes.find(session_id, seconds=READ_SECONDS)).stream

    async def _read_first(self, told: Told) -> None:
        subject = subjects.transcript(*told.key)
        stream = await self._stream(told.session_id)
        stored = await self._broker.direct_get.first(stream, subject, seq=told.seq, seconds=READ_SECONDS)
        if stored is None:
            return
        if stored.body == TOMBSTONE:
            self._timeline.forget(*told.key)
            return
        record = await self._record(stored)
        asked = record.request if record is not None else None
        accepted_at = unix_time(asked.get("timestamp")) if asked else 0.0
        self._timeline.begun(told.key, accepted_at or None, stored.unix_seconds)

    async def _read_last(self) -> None:
        wanted = [subjects.transcript(*told.key) for told in self._timeline.unfinished]
        if not wanted:
            return
        for stored in await each_last(self._broker, wanted):
            key = subjects.of_transcript(stored.subject)
            if stored.body == TOMBSTONE:
                self._timeline.forget(*key)
            else:
                outcome = await self._outcome(stored) if FINAL in stored.body else None
                self._timeline.grown(key, stored.unix_seconds, outcome)

    async def _outcome(self, stored: Stored) -> str:
        """As its final chunk says; `ended` where that can't be opened here."""
        record = await self._record(stored)
        final = record.final if record is not None else None
        metadata = final.get("metadata") if final is not None else None
        reason = metadata.get("finish_reason") if isinstance(metadata, dict) else None
        return reason if isinstance(reason, str) and reason else "ended"

    async def _record(self, stored: Stored) -> Record | None:
        """None for what is none, or can't be opened here: the picture is drawn of the rest."""
        session_id, message_id = subjects.of_transcript(stored.subject)
        with suppress(ProtocolError, KeyMissingError):
            return await self._broker.vault.record(stored.body, session_id, message_id, stored.seq)
        return None

    async def _readers(self, members: Members) -> dict[Token, list[str]]:
        """Pods with readers, by session; entries of a life that is over do not count."""
        found: dict[Token, list[str]] = {}
        sessions = self._timeline.unsettled
        for holder in await self._broker.registry.holders_of(sessions, seconds=READ_SECONDS):
            if not members.has_died("pod", holder.pod_id, holder.boot):
                found.setdefault(holder.session_id, []).append(holder.pod_id)
        return found
