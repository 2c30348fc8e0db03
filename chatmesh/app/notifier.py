"""Tells systemd what this process is doing, where it was started by it (`Type=notify`; `WatchdogSec=` where it is set).

The watchdog is told from the event loop: a loop that hangs is silent, and systemd starts the process anew.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

from chatmesh.kernel import Service
from chatmesh.telemetry import get_logger

log = get_logger("app")


class Notifier(Service):
    """Sends to `address`, a Unix datagram socket; `@` in front is one without a file. What can't be sent is logged: nobody
    fails for it."""

    def __init__(self, address: str, watchdog_seconds: float | None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._pause_seconds = None if watchdog_seconds is None else watchdog_seconds / 2
        self._draining = asyncio.Event()

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Notifier | None:
        """None where systemd did not start this process, or does not want to hear of it."""
        address = environ.get("NOTIFY_SOCKET")
        if not address:
            return None
        limit = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return cls(address, int(limit) / 1e6 if limit.isascii() and limit.isdigit() and is_ours else None)

    def ready(self) -> None:
        """The whole tree is up."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The process drains."""
        self._send("STOPPING=1")

    async def run(self, started: Callable[[], None]) -> None:
        started()
        while not self._draining.is_set():
            if self._pause_seconds is not None:
                self._send("WATCHDOG=1")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds):
                    await self._draining.wait()

    def drain(self) -> None:
        self._draining.set()

    def _send(self, state: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.setblocking(False)
                out.sendto(state.encode(), self._address)
        except OSError as error:
            log.warning("app.not_notified", state=state, error=str(error))
