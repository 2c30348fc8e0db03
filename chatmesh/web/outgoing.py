"""What the kernel holds of a connection's output: bounded, and counted. By default it grows to megabytes that a stalled
client then holds."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from contextlib import suppress

SEND_BUFFER_BYTES = 64 * 1024
"""The kernel's share for a connection. Linux doubles it for its own needs."""


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
