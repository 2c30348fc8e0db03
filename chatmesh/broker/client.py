"""nats-py's client, made to outlive what a raw socket may send.

The server takes nearly any byte in a subject, a reply subject or a header block. nats-py decodes them as text in its read
loop: one message that is no UTF-8 ends that loop for good while `is_connected` stays true, and a vertical tab in a
subject cuts the connection; a stored one comes back and cuts it again, for ever.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

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

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: dict[str, Any] | None
    ) -> None:
        head = header_block.write(headers) if headers else None
        if head is None or not subject:
            await super()._send_publish(subject, reply, payload, payload_size, headers)
            return
        size = len(head)
        line = f"HPUB {subject} {reply} {size} {size + payload_size}\r\n".encode()
        await self._send_command(b"%b%b%b\r\n" % (line, head, payload))
        if not self._is_writing and self._flush_queue is not None:
            await self._flush_pending()

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        """Once for all that is sent in this turn of the loop. Where the socket does not take it, nats-py's own task waits."""
        transport = self._transport
        if force_flush or not self.is_connected or transport is None or transport.is_congested:
            return await super()._flush_pending(force_flush)
        if not self._is_writing:
            self._is_writing = True
            asyncio.get_running_loop().call_soon(self._write)
        return None

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
