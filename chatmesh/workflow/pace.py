"""How fast an answer comes: when its first piece does, and how far apart the others are.

Every piece comes by here, so the distances are counted in a list of our own and told at the end: 0.15 µs each.
"""

from __future__ import annotations

from chatmesh.telemetry import metrics

MOST_BITS = 48
"""Of a distance in microseconds: nine years."""


class Pace:
    """Of one attempt. `accepted_at` is when its message was stored (Unix seconds); None for a later attempt, whose first
    piece is not the answer's."""

    def __init__(self, accepted_at: float | None = None) -> None:
        self._accepted_at = accepted_at
        self._model = ""
        self._last: float | None = None
        self._counts = [0] * (MOST_BITS + 1)
        self._total = 0
        self.first_at: float | None = None
        """When the first piece was written, in Unix seconds."""

    def begin(self, model: str) -> None:
        """What comes now is that model's, by its name in the configuration."""
        self.tell()
        self._model = model

    def wrote(self, *times: float) -> None:
        """Pieces were written then, in Unix seconds, oldest first."""
        last, counts = self._last, self._counts
        for now in times:
            if last is None:
                self.first_at = now
                if self._accepted_at is not None:
                    metrics.first_token_seconds.observe(self._model, now - self._accepted_at)
            elif (gap := int((now - last) * 1e6)) > 0:
                self._total += gap
                counts[gap.bit_length()] += 1
            else:  # the clock went back, or hardly on
                counts[0] += 1
            last = now
        self._last = last

    def tell(self) -> None:
        """The metric has what was counted."""
        if any(self._counts):
            metrics.chunk_gap_seconds.observe_all(self._model, self._counts, self._total)
            self._counts = [0] * (MOST_BITS + 1)
            self._total = 0
