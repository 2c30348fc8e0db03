"""One process for each data directory: an advisory lock that also outlives the process if its server does."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

from chatmesh.errors import BrokerError

# After kill -9 of the owner its server is killed too, and the lock falls when the last of both is gone. A start
# straight afterwards waits for that instead of complaining.
_PATIENCE_SECONDS = 1.0
_LOOK_SECONDS = 0.02


class DirectoryLock:
    """flock(2) on a file that is never removed (removing it would let two processes lock two files of one name).

    The file names who holds it: the owner's pid, then its server's. The server inherits the open file, so that the
    directory stays locked while either of them lives.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """True between `acquire` and `release`."""
        return self._descriptor is not None

    def fileno(self) -> int:
        """The descriptor to hand to the server."""
        if self._descriptor is None:
            raise RuntimeError("the lock is not held")
        return self._descriptor

    async def acquire(self) -> None:
        """Take the lock, or raise `BrokerError` with the pid that holds it."""
        if self.is_held:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            await self._lock(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._write(f"{os.getpid()}\n")

    def name_server(self, pid: int) -> None:
        """Write the server's pid beside the owner's."""
        self._write(f"{os.getpid()} {pid}\n")

    def release(self) -> None:
        """Let go; idempotent. Closing, not unlocking: a server that is still alive keeps the directory locked."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    async def _lock(self, descriptor: int) -> None:
        deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if asyncio.get_running_loop().time() >= deadline:
                    raise self._taken(descriptor) from None
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                return

    def _taken(self, descriptor: int) -> BrokerError:
        pids = os.pread(descriptor, 64, 0).decode(errors="replace").split()
        holder = f"process {pids[0]}" if pids else "another process"
        server = f" (its nats-server is process {pids[1]})" if len(pids) > 1 else ""
        return BrokerError(
            f"The embedded broker's data directory is in use by {holder}{server}",
            where=str(self._path.parent),
            mend="End that process, or choose another data directory.",
        )

    def _write(self, text: str) -> None:
        os.ftruncate(self.fileno(), 0)
        os.pwrite(self.fileno(), text.encode(), 0)
