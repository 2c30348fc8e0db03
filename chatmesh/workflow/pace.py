"""How fast an answer comes: when its first piece does, and how far apart the others are."""

from __future__ import annotations

import time

from chatmesh.telemetry import metrics


class Pace:
    """Of one attempt. `accepted_at` is when its message was stored (Unix seconds); None for a later attempt, whose first
    piece is not the answer's."""

    def __init__(self, accepted_at: float | None = None) -> None:
        self._accepted_at = accepted_at
        self._last: float | None = None
        self.first_at: float | None = None
        """When the first piece was written, in Unix seconds."""

    def wrote(self, model: str) -> None:
        """A piece was written. `model` is the name in the configuration."""
        now = time.time()
        if self._last is not None:
            metrics.chunk_gap_seconds.observe(model, now - self._last)
        else:
            self.first_at = now
            if self._accepted_at is not None:
                metrics.first_token_seconds.observe(model, now - self._accepted_at)
        self._last = now
