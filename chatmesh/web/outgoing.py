"""What the kernel holds of a connection's output: bounded, given up in time, and counted.

Without this it holds megabytes for a client that stalls, for hours. Where a system lacks an option, its default stays.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from contextlib import suppress

SEND_BUFFER_BYTES = 64 * 1024
"""The kernel's share for a connection. Linux doubles it for its own needs; by default it grows to megabytes."""

_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux only


def bound(transport: asyncio.BaseTransport, give_up_seconds: float) -> None:
    """Before the first byte, so that no earlier answer on the connection has grown the buffer. A peer that acknowledges
    nothing, or keeps its window shut, for `give_up_seconds` has lost the connection, one that we closed already too."""
    raw = transport.get_extra_info("socket")
    if raw is None:
        return
    with suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if _USER_TIMEOUT is not None:
            raw.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, round(give_up_seconds * 1000))


def in_kernel(transport: asyncio.BaseTransport) -> int:
    """Bytes that were handed to the kernel and that the peer's has not acknowledged; 0 where the system does not say."""
    raw = transport.get_extra_info("socket")
    if raw is None:
        return 0
    try:
        answer = fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):
        return 0
    count: int = struct.unpack("i", answer)[0]
    return count
