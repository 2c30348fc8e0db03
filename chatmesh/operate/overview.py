"""One look at a mesh: who is there, what waits, how fast it goes. Asked again and again, each look costs the same.

In: a broker. Out: a `Frame`. Rates come from counters that the streams keep anyway, and from what was added to the transcript
since the look before; of that only a part is read where it is much.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from chatmesh.broker import Broker, Stored
from chatmesh.broker.streams import DEAD_LETTERS, REQUESTS, TRANSCRIPT
from chatmesh.errors import KeyMissingError, ProtocolError
from chatmesh.operate.members import Members, read_members
from chatmesh.operate.pages import READ_SECONDS
from chatmesh.operate.queue import Queue, read_queue
from chatmesh.operate.rates import Rates, Sample, Window
from chatmesh.operate.streams import require
from chatmesh.protocol import subjects
from chatmesh.protocol.records import TOMBSTONE, Claim
from chatmesh.protocol.timestamps import iso

SAMPLE_MESSAGES = 256
SAMPLE_BYTES = 1024 * 1024
"""Of the transcript, at each look; what is beyond is reckoned from what was read."""

QUEUE_BYTES = 1024 * 1024
"""Of the queue, at each look."""


@dataclass(frozen=True, slots=True)
class Frame:
    """`at` is when, ISO 8601. `rates` is None for the first look."""

    at: str
    server: str
    members: Members
    queue: Queue
    rates: Rates | None


class Overview:
    """Looks, and remembers the looks of the last minute."""

    def __init__(self, broker: Broker, *, interval_seconds: float, limit: int) -> None:
        """`interval_seconds`: between two heartbeats. `limit`: requests of the queue."""
        self._broker = broker
        self._interval_seconds = interval_seconds
        self._limit = limit
        self._window = Window()
        self._written = _Written(broker)

    async def look(self) -> Frame:
        """Raises BrokerError."""
        await require(self._broker, TRANSCRIPT)
        members = await read_members(self._broker, interval_seconds=self._interval_seconds)
        queue = await read_queue(self._broker, members, limit=self._limit, max_bytes=QUEUE_BYTES)
        for fill in queue.transcripts:
            await self._written.read_on(fill.stream, fill.stored)
        self._window.add(self._sample(queue))
        server = self._broker.connection.server
        return Frame(iso(time.time()), server, members, queue, self._window.rates())

    def _sample(self, queue: Queue) -> Sample:
        written, requests = self._written, queue.fill(REQUESTS)
        accepted = requests.stored if requests is not None else 0
        return Sample(
            time.monotonic(),
            accepted,
            accepted - (requests.messages if requests is not None else 0),
            round(written.claims),
            round(written.takeovers),
            _stored(queue, DEAD_LETTERS),
            written.tokens if written.can_read else None,
        )


class _Written:
    """Counts what is added to the transcript."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._read_to: dict[str, int] = {}
        self.tokens = 0.0
        self.claims = 0.0
        self.takeovers = 0.0
        self.can_read = True
        """False once something is sealed that can't be opened here."""

    async def read_on(self, stream: str, last: int) -> None:
        """One of its streams up to sequence `last`; the first time there is nothing to count."""
        before = self._read_to.get(stream, 0)
        if 0 < before < last:
            await self._read(stream, before + 1, last)
        self._read_to[stream] = last

    async def _read(self, stream: str, first: int, last: int) -> None:
        claims, scale = await self._page(stream, subjects.CLAIM_ALL, first, last)
        self.claims += scale * len(claims)
        self.takeovers += scale * sum(_is_takeover(stored) for stored in claims)
        records, scale = await self._page(stream, subjects.TRANSCRIPT_ALL, first, last)
        for stored in records:
            self.tokens += scale * await self._tokens(stored)

    async def _page(self, stream: str, subject: str, first: int, last: int) -> tuple[list[Stored], float]:
        """What lies there, and for how much more it stands."""
        page = await self._broker.direct_get.page(
            stream,
            subject,
            seq=first,
            limit=SAMPLE_MESSAGES,
            seconds=READ_SECONDS,
            max_bytes=SAMPLE_BYTES,
        )
        found = [stored for stored in page.messages if stored.seq <= last]
        is_part = page.more and len(found) == len(page.messages) > 0
        return found, (last - first + 1) / (found[-1].seq - first + 1) if is_part else 1.0

    async def _tokens(self, stored: Stored) -> int:
        """Pieces of an answer: one token each, as a rule."""
        if stored.body == TOMBSTONE:
            return 0
        try:
            record = await self._broker.vault.record(
                stored.body, *subjects.of_transcript(stored.subject), stored.seq
            )
        except KeyMissingError:
            self.can_read = False
            return 0
        except ProtocolError:
            return 0
        chunks = record.chunks if record is not None else []
        return sum(chunk.get("chunk_type") == "content" and bool(chunk.get("chunk")) for chunk in chunks)


def _is_takeover(stored: Stored) -> bool:
    """Whether another worker goes on with a message: not its first claim, and no goodbye."""
    try:
        claim = Claim.decode(stored.body)
    except ProtocolError:
        return False
    return claim.attempt > 0 and claim.first > 0 and not claim.handed_over


def _stored(queue: Queue, stream: str) -> int:
    fill = queue.fill(stream)
    return fill.stored if fill is not None else 0
