"""The file of API keys: read at start, and again when it changes, beside the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from chatmesh.errors import ConfigError
from chatmesh.identity.api_keys import ApiKey, caller_of, parse_keys
from chatmesh.kernel import Service
from chatmesh.protocol.callers import Caller
from chatmesh.telemetry import get_logger

log = get_logger("identity")

LOOK_SECONDS = 1.0
MAX_BYTES = 64 * 2**20
"""Some 200,000 keys."""

Stamp = tuple[int, int, int]


class KeyFile(Service):
    """Knows callers by their keys. A file that has become unreadable is told of, and the last good keys stay. `on_change` is
    called after each reload."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError where the file can't be used."""
        self._path = path
        self._stamp, self._keys = self._load()
        self._draining = asyncio.Event()
        self._on_change: list[Callable[[], None]] = []

    def on_change(self, tell: Callable[[], None]) -> None:
        self._on_change.append(tell)

    async def identify(self, text: str) -> Caller:
        """Raises NotKnownError."""
        return caller_of(text, self._keys, time.time())

    def knows(self, caller: Caller) -> bool:
        """Whether the caller's key is still there, as it was."""
        if caller.key_id is None:
            return True
        key = self._keys.get(caller.key_id)
        return key is not None and (key.tenant, key.user) == (caller.tenant, caller.user)

    async def run(self, started: Callable[[], None]) -> None:
        started()
        while not self._draining.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._draining.wait()
            await self._look()

    def drain(self) -> None:
        self._draining.set()

    async def _look(self) -> None:
        try:
            if await asyncio.to_thread(self._stat) == self._stamp:
                return
            self._stamp, self._keys = await asyncio.to_thread(self._load)
        except (OSError, ConfigError) as error:
            log.error("identity.keys_unreadable", path=str(self._path), error=str(error))
            return
        log.info("identity.keys_read", path=str(self._path), keys=len(self._keys))
        for tell in self._on_change:
            tell()

    def _stat(self) -> Stamp:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _load(self) -> tuple[Stamp, dict[str, ApiKey]]:
        try:
            # Before reading: what is written meanwhile is read again.
            stamp = self._stat()
            with self._path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
            if len(raw) > MAX_BYTES:
                raise ConfigError(f"the file of keys has more than {MAX_BYTES} bytes", where=str(self._path))
            return stamp, parse_keys(raw.decode(), str(self._path))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the file of API keys can't be read ({getattr(error, 'strerror', None) or error})",
                where=str(self._path),
                mend="Make it with `chatmesh keys new --file FILE …`, and set auth.keys_file to it.",
            ) from error
