"""A small file that a process lives by: read at start, and again whenever it changes, beside the loop."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from chatmesh.errors import ConfigError
from chatmesh.kernel import Service

T = TypeVar("T")

LOOK_SECONDS = 1.0

Stamp = tuple[int, int, int]


class WatchedFile(Service, Generic[T]):
    """`value` is what the file last said. One that has become unreadable is told of, and the last good value stays."""

    def __init__(self, path: Path, read: Callable[[str], T], *, what: str, mend: str, max_bytes: int) -> None:
        """`read` makes the value of the text, or raises ConfigError. `what` the file is, and `mend`, are for the error where
        it can't be read: a ConfigError here, too."""
        self._path = path
        self._what = what
        self._mend = mend
        self._read = read
        self._max_bytes = max_bytes
        self._stamp, self.value = self._load()
        self._draining = asyncio.Event()

    @abstractmethod
    def on_read(self) -> None:
        """The value is another one."""

    @abstractmethod
    def on_unreadable(self, error: OSError | ConfigError) -> None:
        """The file changed and can't be used."""

    async def run(self, started: Callable[[], None]) -> None:
        started()
        while not self._draining.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._draining.wait()
            await self.look()

    def drain(self) -> None:
        self._draining.set()

    async def look(self) -> None:
        """Reads the file, if it has changed."""
        try:
            if await asyncio.to_thread(self._stat) == self._stamp:
                return
            self._stamp, self.value = await asyncio.to_thread(self._load)
        except (OSError, ConfigError) as error:
            self.on_unreadable(error)
            return
        self.on_read()

    def _stat(self) -> Stamp:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _load(self) -> tuple[Stamp, T]:
        try:
            # Before reading: what is written meanwhile is read again.
            stamp = self._stat()
            with self._path.open("rb") as file:
                raw = file.read(self._max_bytes + 1)
            if len(raw) > self._max_bytes:
                raise ConfigError(
                    f"{self._what} has more than {self._max_bytes} bytes", where=str(self._path)
                )
            return stamp, self._read(raw.decode())
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"{self._what} can't be read ({reason})", where=str(self._path), mend=self._mend
            ) from error
