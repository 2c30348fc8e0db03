"""The file of the key ring, followed: a key that was added is known within seconds, without a restart."""

from __future__ import annotations

from pathlib import Path

from chatmesh.config.watched_file import WatchedFile
from chatmesh.errors import ConfigError
from chatmesh.protocol.keyring import MEND, KeyRing, parse_ring
from chatmesh.telemetry import get_logger

log = get_logger("broker")

MAX_BYTES = 2**20
"""Some 10,000 keys."""


class RingFile(WatchedFile[KeyRing]):
    """`value` is the key ring."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError where the file can't be used."""
        super().__init__(
            path,
            lambda text: parse_ring(text, str(path)),
            what="the key ring",
            mend=MEND,
            max_bytes=MAX_BYTES,
        )

    def on_read(self) -> None:
        log.info("broker.key_ring_read", path=str(self._path), keys=len(self.value.keys))

    def on_unreadable(self, error: OSError | ConfigError) -> None:
        log.error("broker.key_ring_unreadable", path=str(self._path), error=str(error))
