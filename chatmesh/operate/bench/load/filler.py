"""Fills the transcript with other people's sessions, as fast as the broker stores them.

One connection with a bare protocol. Only the last message of every few hundred asks for an acknowledgement, and few enough are
under way at a time that the stream's queue, from which the server drops what is too much, never gets full. Were one lost all
the same, those behind it would lie elsewhere than they say: each record names the sequence of its claim, and the server refuses
it where the claim is not there. At the end all are counted.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from chatmesh.broker import Broker
from chatmesh.broker.streams import TRANSCRIPT
from chatmesh.errors import BrokerUnreachableError, ChatmeshError
from chatmesh.operate.bench.load.filling import PER_SESSION, Sessions

SESSIONS_AT_ONCE = 25
"""Behind which an acknowledgement is asked for."""

UNDER_WAY = 8
"""Such groups that may wait for theirs: 4,000 messages, of the 10,000 that the server keeps for a stream."""

ANSWER_SECONDS = 60.0
INFO_SECONDS = 60.0
LINE_BYTES = 1 << 20
GREETED = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"name":"chatmesh-bench-filler"}\r\n'


@dataclass(frozen=True, slots=True)
class Stand:
    """Of the stream. `max_bytes`: -1 where there is no limit."""

    messages: int
    last_seq: int
    stored_bytes: int
    max_bytes: int
    subjects: int


class Filler:
    """`filled`: how many messages of others are stored."""

    def __init__(
        self, broker: Broker, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.sessions = Sessions(name, time.time())
        self.filled = 0
        self._broker = broker
        self._reader = reader
        self._writer = writer
        self._reply = f"_INBOX.{secrets.token_hex(8)}"

    @property
    def begun(self) -> int:
        """How many sessions there are: those of the numbers below it."""
        return self.filled // PER_SESSION

    async def fill_to(self, size: int) -> None:
        """Until there are `size` messages of others (a multiple of `PER_SESSION`). Raises ChatmeshError where the broker refuses or
        loses one, or somebody else writes meanwhile."""
        before = await self.stand()
        missing = size - self.filled
        await self._write(before.last_seq + 1, missing // PER_SESSION)
        after = await self.stand()
        found = (after.messages - before.messages, after.last_seq - before.last_seq)
        if found != (missing, missing):
            raise _lost(f"{missing} messages were published, and the stream has {found[0]} more")

    async def stand(self) -> Stand:
        """Of the stream now. Raises BrokerError."""
        info = await self._broker.api.call(f"STREAM.INFO.{TRANSCRIPT}", seconds=INFO_SECONDS)
        state: dict[str, int] = info["state"]
        limit = info["config"].get("max_bytes", -1)
        return Stand(
            state["messages"], state["last_seq"], state["bytes"], limit, state.get("num_subjects", 0)
        )

    async def greet(self) -> None:
        """Returns once the broker takes what is sent."""
        self._writer.write(GREETED + b"SUB %b 1\r\nPING\r\n" % self._reply.encode())
        while await self._line() != b"PONG":
            pass

    async def _write(self, seq: int, count: int) -> None:
        under_way = 0
        for left in range(count, 0, -1):
            asks = left % SESSIONS_AT_ONCE == 1
            self._writer.write(self.sessions.block(self.begun, seq, self._reply if asks else ""))
            seq += PER_SESSION
            self.filled += PER_SESSION
            if asks:
                under_way += 1
                await self._drain()
            if under_way >= UNDER_WAY:
                under_way -= 1
                await self._acknowledged()
        for _ in range(under_way):
            await self._acknowledged()

    async def _drain(self) -> None:
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise _cut() from error

    async def _acknowledged(self) -> None:
        """The next acknowledgement: they come in the order in which they were asked for."""
        while not (line := await self._line()).startswith((b"MSG ", b"HMSG ")):
            pass
        body = await self._reader.readexactly(int(line.split()[-1]) + len(b"\r\n"))
        if line.startswith(b"HMSG "):
            raise _lost("no stream takes them")
        answer: dict[str, Any] = orjson.loads(body)
        if "error" in answer:
            stand = await self.stand()
            holds = f"the stream holds {stand.stored_bytes:,} of {stand.max_bytes:,} bytes"
            raise _lost(f"the broker refused one ({answer['error'].get('description')}); {holds}")

    async def _line(self) -> bytes:
        """The next one that the broker says, unless it is for the protocol's own good."""
        while True:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    line = (await self._reader.readline()).rstrip()
            except TimeoutError as error:
                raise _lost(f"the broker acknowledged nothing for {ANSWER_SECONDS:g} s") from error
            if not line:
                raise _cut()
            if line.startswith(b"-ERR"):
                raise _lost(f"the broker said {line.decode(errors='replace')}")
            if line == b"PING":
                self._writer.write(b"PONG\r\n")
            else:
                return line


@asynccontextmanager
async def filler(broker: Broker, url: str, name: str) -> AsyncIterator[Filler]:
    """For the broker at `url`, of which `broker` knows more; `name` begins the sessions' ids. Raises ChatmeshError where the
    transcript lies in parts."""
    await broker.layout.ensure_known()
    if broker.layout.is_partitioned:
        raise ChatmeshError(
            "the transcript lies in parts, and it is filled as one stream only",
            where="deep",
            mend="Leave out `--set streams.partitions=…`.",
        )
    address = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=LINE_BYTES)
    except OSError as error:
        raise BrokerUnreachableError(f"NATS is away: {error}", where=url) from error
    try:
        found = Filler(broker, name, reader, writer)
        await found.greet()
        yield found
    finally:
        writer.close()


def _lost(what: str) -> ChatmeshError:
    return ChatmeshError(
        f"the transcript was not filled as it should be: {what}",
        where=TRANSCRIPT,
        mend="Nothing else may write to it, and `streams.transcript_max_bytes` and the disk have to hold it.",
    )


def _cut() -> BrokerUnreachableError:
    return BrokerUnreachableError(
        "the broker cut the connection while the transcript was being filled",
        where=TRANSCRIPT,
        mend="Its log says why.",
    )
