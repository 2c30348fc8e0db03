"""nats-py's client, made to outlive what a raw socket may send.

The server takes nearly any byte in a subject, a reply subject or a header block. nats-py decodes them as text in its read
loop: one message that is no UTF-8 ends that loop for good while `is_connected` stays true, and a vertical tab in a
subject cuts the connection; a stored one comes back and cuts it again, for ever.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import nats.errors
import nats.protocol.parser

from chatmesh.broker import header_block
from chatmesh.broker.message import Msg
from chatmesh.broker.parser import Parser
from chatmesh.broker.sealed import SealedClient
from chatmesh.telemetry import get_logger, metrics

log = get_logger("broker")

Put = Callable[[Msg], None]
End = Callable[[], Awaitable[None]]

# Fields are parted by blanks and tabs; `\s`, as nats-py has it, also takes what the server lets through in a subject.
nats.protocol.parser.MSG_RE = re.compile(
    rb"\AMSG[ \t]+([^ \t\r\n]+)[ \t]+([^ \t\r\n]+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)\r\n"
)
nats.protocol.parser.HMSG_RE = re.compile(
    rb"\AHMSG[ \t]+([^ \t\r\n]+)[ \t]+([^ \t\r\n]+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)[ \t]+(\d+)\r\n"
)

TURN_BYTES = 1024 * 1024
"""So much is not kept until this turn of the loop is over: the socket may take it."""

_PARTING = re.compile(r"[ \t\r\n]")
"""What would end a subject within a line."""


class SturdyClient(SealedClient):
    """Messages of `feed` go straight to whoever takes them: nats-py has a queue and a task for each subscription, a turn of the
    event loop for each batch of messages. What can't be read as text is handed on with U+FFFD in its place, and
    without headers where those can't be read: whoever gets it refuses it like any other undecodable message."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = Parser(self, self._process_msg)
        self._feeds: dict[int, Put] = {}
        self._is_writing = False

    @property
    def greeting(self) -> dict[str, Any]:
        """What the server said of itself when it took the connection: name, version, cluster, limits."""
        return dict(self._server_info)

    async def feed(self, subject: str, put: Put) -> End:
        """A subscription whose messages `put` gets, in the read loop: it must neither block nor raise. What is returned ends
        it; what is still on its way then is let go."""
        sid = self._sid + 1  # which `subscribe` gives out before it waits for anything
        self._feeds[sid] = put
        try:
            subscription = await self.subscribe(subject, cb=_never)
        except BaseException:
            self._feeds.pop(sid, None)
            raise

        async def end() -> None:
            self._feeds.pop(sid, None)
            await subscription.unsubscribe()

        return end

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        put = self._feeds.get(sid)
        if put is None:
            return  # ended meanwhile
        found = header_block.of_message(headers) if headers else None
        if found is None and headers:
            found = await self._process_headers(headers)
        try:
            message = Msg(subject.decode(), reply.decode(), data, found)
        except UnicodeDecodeError:
            metrics.errors.labels("broker", "undecodable").inc()
            message = Msg(_readable(subject), _readable(reply), data, found)
            log.warning("broker.undecodable_subject", subject=message.subject)
        try:
            put(message)
        except Exception:
            # Somebody's bug, and his message is lost; all others' are still read.
            metrics.errors.labels("broker", "not_taken").inc()
            log.exception("broker.not_taken", subject=message.subject)

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        """Those that are not plain."""
        try:
            found: dict[str, str] | None = await super()._process_headers(headers)
        except (IndexError, UnicodeDecodeError) as error:
            metrics.errors.labels("broker", "undecodable").inc()
            log.warning("broker.undecodable_headers", error=repr(error))
            return None
        return found

    # --- what is sent ----------------------------------------------------------------------------------------------

    def send(
        self, subject: str, payload: bytes, reply: str = "", head: Mapping[str, str] | None = None
    ) -> None:
        """A message for the server, with everything that is sent in this turn of the loop. Nothing is waited for: what the
        socket does not take is kept, up to nats-py's `pending_size`. Raises nats.errors.Error where it is not taken."""
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        if not subject or _PARTING.search(subject) or _PARTING.search(reply):
            raise nats.errors.BadSubjectError
        if self._pending_data_size + len(payload) > self._max_pending_size:
            raise nats.errors.OutboundBufferLimitError
        block = header_block.write(head) if head else b""
        size = len(block)
        line = (
            f"HPUB {subject} {reply} {size} {size + len(payload)}\r\n"
            if block
            else f"PUB {subject} {reply} {len(payload)}\r\n"
        )
        command = b"%b%b%b\r\n" % (line.encode(), block, payload)
        self._pending.append(command)
        self._pending_data_size += len(command)
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += len(payload)
        if not self._is_writing or self._pending_data_size >= TURN_BYTES:
            self._write_soon()

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        """What nats-py sends by itself."""
        if force_flush or not self.is_connected:
            return await super()._flush_pending(force_flush)
        self._write_soon()
        return None

    def _write_soon(self) -> None:
        """Once for all that is sent in this turn of the loop, unless that is much. Where the socket does not take it, nats-py's
        own task waits."""
        if self._transport is None or self._flush_queue is None:
            return
        if self._transport.is_congested:
            if self._flush_queue.empty():
                self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())
        elif self._pending_data_size >= TURN_BYTES:
            self._write()
        elif not self._is_writing:
            self._is_writing = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._is_writing = False
        if self._transport is None or not self.is_connected or not self._pending:
            return  # what is pending goes out behind the next connect
        try:
            self._transport.writelines(self._pending)
        except (OSError, RuntimeError) as error:
            # Closed, and the read loop has not heard of it yet: as above.
            log.info("broker.not_written", error=repr(error))
            return
        self._pending, self._pending_data_size = [], 0


async def _never(_message: object) -> None:
    """Nothing comes this way: see `feed`."""


def _readable(text: bytes) -> str:
    return text.decode(errors="replace")
