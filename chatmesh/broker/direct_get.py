"""Reading streams by Direct Get (NATS ADR-31): no consumer, no state at the server, several messages for one request.

A batch comes without flow control and ends with a `204 EOB`; its messages chain by `Nats-Last-Sequence`, which is how a
lost one is noticed. What is missing, or what a broker away leaves unanswered, is asked again until the deadline.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from chatmesh.broker.connection import Connection
from chatmesh.broker.message import Msg
from chatmesh.broker.replies import Replies
from chatmesh.errors import BrokerError, BrokerUnreachableError
from chatmesh.protocol import headers

TRY_SECONDS = 1.0
"""One try. An answer takes 0.3 to 10 ms; after a second its request or its end was lost."""

AGAIN_SECONDS = 0.1

MAX_SUBJECTS = 1024
"""The server answers 413 where more match one request."""

PAGE_BYTES = 4 * 1024 * 1024
"""Of one batch, unless less is asked for: what is read and let go at once."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as the stream has it. `time` is the stream's own stamp (RFC 3339)."""

    subject: str
    seq: int
    time: str
    body: bytes
    headers: dict[str, str]

    @property
    def unix_seconds(self) -> float:
        return datetime.fromisoformat(self.time).timestamp()


@dataclass(frozen=True, slots=True)
class Page:
    """Messages in the stream's order, and how many more match behind the last one."""

    messages: list[Stored]
    pending: int = 0

    @property
    def more(self) -> bool:
        """Whether there are any."""
        return self.pending > 0


@dataclass(slots=True)
class _Batch:
    """What one request has brought so far."""

    single: bool
    arrived: asyncio.Future[Page | None]
    messages: list[Stored] = field(default_factory=list)
    last_seq: int = 0
    is_broken: bool = False

    def on_reply(self, message: Msg) -> bool:
        """A message of the batch or its end. None as the result means: ask again."""
        head = message.headers or {}
        status = head.get(headers.STATUS)
        # A stored message may carry whatever header its publisher chose; a status of the server's has no sequence.
        if status is None or headers.SEQUENCE in head:
            self._add(message, head)
            if self.single:
                self._resolve(Page(self.messages))
            return self.single
        if status == "204":
            complete = not self.is_broken and int(head.get(headers.LAST_SEQUENCE, 0)) == self.last_seq
            pending = int(head.get(headers.NUM_PENDING, 0))
            self._resolve(Page(self.messages, pending) if complete else None)
        elif status == "404":
            self._resolve(Page([]))
        elif status == "413":
            self._fail(BrokerError("more subjects match than one request may ask for (413)"))
        else:
            self._resolve(None)
        return True

    def _add(self, message: Msg, head: dict[str, str]) -> None:
        seq = int(head[headers.SEQUENCE])
        if not self.single and int(head.get(headers.LAST_SEQUENCE, 0)) != self.last_seq:
            self.is_broken = True
        self.last_seq = seq
        self.messages.append(Stored(head[headers.SUBJECT], seq, head[headers.TIME_STAMP], message.data, head))

    def _resolve(self, page: Page | None) -> None:
        if not self.arrived.done():
            self.arrived.set_result(page)

    def _fail(self, error: BrokerError) -> None:
        if not self.arrived.done():
            self.arrived.set_exception(error)


class DirectGet:
    """Reads any stream that allows it. Stateless but for the requests under way."""

    def __init__(
        self,
        connection: Connection,
        replies: Replies,
        *,
        on_unheard: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_unheard` is told when a stream does not answer."""
        self._connection = connection
        self._replies = replies
        self._on_unheard = on_unheard
        self._clock = clock

    async def last(self, stream: str, subject: str, *, seconds: float) -> Stored | None:
        """The last message on `subject`, or None."""
        page = await self._get(stream, {"last_by_subj": subject}, seconds, single=True)
        return page.messages[0] if page.messages else None

    async def first(self, stream: str, subject: str, *, seq: int = 1, seconds: float) -> Stored | None:
        """The first message on `subject` at or behind `seq`, or None."""
        page = await self._get(stream, {"next_by_subj": subject, "seq": seq}, seconds, single=True)
        return page.messages[0] if page.messages else None

    async def page(
        self,
        stream: str,
        subject: str,
        *,
        seq: int,
        limit: int,
        seconds: float,
        max_bytes: int = PAGE_BYTES,
        try_seconds: float = TRY_SECONDS,
    ) -> Page:
        """At most `limit` messages on `subject` (wildcards allowed) from `seq` on. The one that reaches `max_bytes` is the
        last. Where the stream is long and few of it match, `sparse` costs the server less. It counts what is left, over all
        subjects that match: of millions that takes longer than one try gets elsewhere."""
        request = {"next_by_subj": subject, "seq": max(1, seq), "batch": limit, "max_bytes": max_bytes}
        return await self._get(stream, request, seconds, single=False, try_seconds=try_seconds)

    async def each_last(self, stream: str, *patterns: str, seconds: float) -> list[Stored]:
        """The last message of every subject that matches; raises BrokerError past 1,024 of them."""
        page = await self._get(
            stream, {"multi_last": list(patterns), "batch": MAX_SUBJECTS}, seconds, single=False
        )
        return page.messages

    async def _get(
        self,
        stream: str,
        request: dict[str, Any],
        seconds: float,
        *,
        single: bool,
        try_seconds: float = TRY_SECONDS,
    ) -> Page:
        deadline = self._clock() + seconds
        body = orjson.dumps(request)
        while True:
            page = await self._try(
                f"{self._connection.jetstream_api}.DIRECT.GET.{stream}",
                body,
                min(try_seconds, seconds),
                single=single,
            )
            if page is not None:
                return page
            self._on_unheard()
            if self._clock() >= deadline:
                raise BrokerUnreachableError(
                    "the transcript could not be read in time",
                    where=stream,
                    mend="NATS is away or overloaded.",
                )
            await asyncio.sleep(AGAIN_SECONDS)

    async def _try(self, subject: str, body: bytes, seconds: float, *, single: bool) -> Page | None:
        batch = _Batch(single, asyncio.get_running_loop().create_future())
        reply = self._replies.expect(batch.on_reply)
        try:
            self._connection.publish(subject, body, reply=reply)
            async with asyncio.timeout(seconds):
                return await batch.arrived
        except (BrokerUnreachableError, TimeoutError):
            return None
        finally:
            self._replies.forget(reply)
