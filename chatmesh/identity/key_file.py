"""The file of API keys, followed: callers are known by their keys as the file has them now."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from chatmesh.config.watched_file import WatchedFile
from chatmesh.errors import ConfigError
from chatmesh.identity.api_keys import ApiKey, caller_of, parse_keys
from chatmesh.protocol.callers import Caller
from chatmesh.telemetry import get_logger

log = get_logger("identity")

MAX_BYTES = 64 * 2**20
"""Some 200,000 keys."""


class KeyFile(WatchedFile[dict[str, ApiKey]]):
    """Knows callers by their keys. `on_change` is called after each reload."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError where the file can't be used."""
        super().__init__(
            path,
            lambda text: parse_keys(text, str(path)),
            what="the file of API keys",
            mend="Make it with `chatmesh keys new --file FILE …`, and set auth.keys_file to it.",
            max_bytes=MAX_BYTES,
        )
        self._on_change: list[Callable[[], None]] = []

    def on_change(self, tell: Callable[[], None]) -> None:
        self._on_change.append(tell)

    async def identify(self, text: str) -> Caller:
        """Raises NotKnownError."""
        return caller_of(text, self.value, time.time())

    def knows(self, caller: Caller) -> bool:
        """Whether the caller's key is still there, as it was."""
        if caller.key_id is None:
            return True
        key = self.value.get(caller.key_id)
        return key is not None and (key.tenant, key.user) == (caller.tenant, caller.user)

    def on_read(self) -> None:
        log.info("identity.keys_read", path=str(self._path), keys=len(self.value))
        for tell in self._on_change:
            tell()

    def on_unreadable(self, error: OSError | ConfigError) -> None:
        log.error("identity.keys_unreadable", path=str(self._path), error=str(error))
