"""The server's log file: what it wrote since its last start."""

from __future__ import annotations

import os
from pathlib import Path

# Enough for a Go panic with a few goroutines; bounds what an error message may cost.
_TAIL_BYTES = 64 * 1024


class ServerLog:
    """The server writes and rotates its log by itself (10 MB, one file kept); here it is only opened and read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._run_began_at = 0

    def open_for_run(self) -> int:
        """A descriptor for the next run's stderr, which the caller closes; remembers where that run's lines begin.

        What the server says before it has read its configuration, and a panic, goes to stderr: into the same file.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        self._run_began_at = os.fstat(descriptor).st_size
        return descriptor

    def last_lines(self, count: int) -> list[str]:
        """The last `count` lines of the current run, or of the one that just ended."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                began = self._run_began_at if self._run_began_at <= size else 0  # shorter: it was rotated
                file.seek(max(began, size - _TAIL_BYTES))
                tail = file.read(_TAIL_BYTES)
        except OSError:
            return []
        return tail.decode(errors="replace").splitlines()[-count:]
