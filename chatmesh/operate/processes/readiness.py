"""When a process of ours is ready: it says so on a socket, as it would say it to systemd. No log has to be read for it."""

from __future__ import annotations

import asyncio
import platform
import secrets
import socket
from contextlib import suppress
from pathlib import Path

VARIABLE = "NOTIFY_SOCKET"


class Readiness:
    """One process's. On Linux the socket has no file, so that no path is too long for it."""

    def __init__(self, folder: Path) -> None:
        name = f"ready-{secrets.token_hex(6)}"
        self.address = f"@chatmesh-{name}" if platform.system() == "Linux" else str(folder / name)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(self.address.replace("@", "\0", 1) if self.address[0] == "@" else self.address)

    async def wait(self, seconds: float) -> bool:
        """Whether it says so within so many seconds."""
        loop = asyncio.get_running_loop()
        heard = asyncio.Event()
        loop.add_reader(self._socket, heard.set)
        try:
            async with asyncio.timeout(seconds):
                while not self._is_said():
                    heard.clear()
                    await heard.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._socket)
        return True

    def close(self) -> None:
        self._socket.close()

    def _is_said(self) -> bool:
        with suppress(BlockingIOError):
            while True:
                if self._socket.recv(4096).startswith(b"READY=1"):
                    return True
        return False
