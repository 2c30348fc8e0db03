"""What the server sends, taken apart.

nats-py tries a pattern for each kind of line, and moves the rest of its buffer for each message. Here a message that is whole
and plain is cut out where it lies; everything else goes, line by line, to nats-py's parser, which this one is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from nats.errors import ProtocolError
from nats.protocol import parser

if TYPE_CHECKING:
    from nats.aio.client import Client

Take = Callable[[int, bytes, bytes, bytes, bytes], Awaitable[None]]

LINE_END = b"\r\n"

LARGE_BYTES = 64 * 1024
"""A payload from here on is gathered in nats-py's buffer: joined anew with each piece, it would cost the square of its length."""

MAX_LINE_BYTES = 1024 * 1024
"""The longest line is the server's greeting, with the addresses of its cluster."""

_NUMBERS = {b"MSG": 1, b"HMSG": 2}
"""How many numbers of bytes end a message's line."""


class Parser(parser.Parser):
    """`take` gets each message as nats-py's client does: subscription, subject, reply, payload, and the block of headers, in the
    order in which they came."""

    def __init__(self, client: Client, take: Take) -> None:
        self._take = take
        self._resets = 0
        super().__init__(client)

    def reset(self) -> None:
        """The connection is another one: what was left of the last one is nothing."""
        super().reset()
        self._rest = b""
        self._resets += 1

    async def parse(self, data: bytes = b"") -> None:
        """Takes the next bytes. Raises ProtocolError."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, resets = 0, self._resets
        while at < len(data) and self._resets == resets:
            if self.buf or self.state == parser.AWAITING_MSG_PAYLOAD:
                behind = at + self._wanted(len(data))
            elif (behind := data.find(LINE_END, at) + 2) < 2:
                if len(data) - at > MAX_LINE_BYTES:
                    raise ProtocolError("a line that has no end")
                self._rest = data[at:]
                return
            elif (message := _plain(data[at : behind - 2])) is not None:
                subject, sid, reply, head_size, size = message
                end = behind + size
                if end + 2 <= len(data):
                    head, payload = data[behind : behind + head_size], data[behind + head_size : end]
                    await self._take(sid, subject, reply, payload, head)
                    at = end + 2
                    continue
                if size < LARGE_BYTES:
                    self._rest = data[at:]
                    return
            await super().parse(data[at:behind])
            at = behind

    def _wanted(self, most: int) -> int:
        """What nats-py's parser waits for: the rest of a message, or it has not said."""
        if self.state != parser.AWAITING_MSG_PAYLOAD:
            return most
        wanted: int = self.needed + len(LINE_END) - len(self.buf)
        return wanted


def _plain(line: bytes) -> tuple[bytes, int, bytes, int, int] | None:
    """Subject, subscription, reply, bytes of headers and bytes of all, of `MSG subject sid [reply] bytes` or `HMSG subject sid
    [reply] bytes-of-headers bytes`, parted by single blanks."""
    fields = line.split(b" ")
    numbers = _NUMBERS.get(fields[0])
    if numbers is None or not 3 <= len(fields) - numbers <= 4 or b"" in fields:
        return None
    sid, head, size = fields[2], fields[-2], fields[-1]
    if not (sid.isdigit() and size.isdigit() and (numbers == 1 or head.isdigit())):
        return None
    reply = fields[3] if len(fields) - numbers == 4 else b""
    return fields[1], int(sid), reply, int(head) if numbers == 2 else 0, int(size)
