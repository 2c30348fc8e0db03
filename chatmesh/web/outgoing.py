"""What goes out on a connection: written without waiting, what waits for the client counted, and what the kernel holds of it
bounded. By default that grows to megabytes, which a stalled client then holds."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from contextlib import suppress

SEND_BUFFER_BYTES = 64 * 1024
"""The kernel's share for a connection. Linux doubles it for its own needs."""


_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for no seconds."""


class Outgoing:
    """`wire`: the transport from the first moment to the last; None before and after."""

    __slots__ = ("_stalled_looks", "_taken", "_written", "is_unframed", "wire")

    def __init__(self, wire: asyncio.Transport | None = None) -> None:
        self.wire = wire
        self.is_unframed = False
        """The body's end is the connection's (HTTP/1.0): one that is closed in order would be complete, so it is reset."""
        self._written = 0
        self._taken = 0
        """As of the last look; only that it changes means something, since aiohttp's own writes are not in `_written`."""
        self._stalled_looks = 0

    @property
    def is_closing(self) -> bool:
        return self.wire is None or self.wire.is_closing()

    @property
    def buffered(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self.wire.get_write_buffer_size() if self.wire is not None else 0

    def send(self, data: bytes) -> None:
        """Past aiohttp's own writer, which waits for the slowest client. Never waits, never refuses."""
        if self.wire is not None:
            self._written += len(data)
            self.wire.write(data)

    def stalled_looks(self) -> int:
        """For how many looks, this one included, the client has taken nothing of what waits for it. The kernel takes from
        us in steps of a third of its buffer, so what the client takes shows in there first."""
        waiting = self.buffered
        if waiting and self.wire is not None:
            taken = self._written - waiting - in_kernel(self.wire)
            self._stalled_looks = self._stalled_looks + 1 if taken == self._taken else 0
            self._taken = taken
        else:
            self._stalled_looks = 0
        return self._stalled_looks

    def cut(self) -> None:
        """Now, whatever is under way or still to be sent, and so that no client takes it for an end."""
        if self.wire is not None:
            raw = self.wire.get_extra_info("socket") if self.is_unframed else None
            if raw is not None:
                with suppress(OSError):  # the client has ended it already, and sees no end of ours
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.wire.abort()


def bound(transport: asyncio.BaseTransport) -> None:
    """Before the first byte, so that no earlier answer on the connection has grown the buffer."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


def in_kernel(transport: asyncio.BaseTransport) -> int:
    """Bytes that the kernel has of us and the peer's has not acknowledged; 0 where the system does not say."""
    raw = transport.get_extra_info("socket")
    if raw is None:
        return 0
    try:
        answer = fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # none of macOS's; closed already
        return 0
    count: int = struct.unpack("i", answer)[0]
    return count
