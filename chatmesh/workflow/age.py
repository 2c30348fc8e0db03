"""When a request grows too old: pure.

JetStream drops a request at the stream's `max_age` without a word. So it is ended a while before: its reader gets an
error-final, and it becomes a dead letter. Requests of a session grow old in the order in which they wait, so whoever runs
is ended first and those behind it get their turn, which then ends them.
"""

from __future__ import annotations

from dataclasses import dataclass

MARGIN_SECONDS = 60.0
"""Enough for a takeover, a redelivery and clocks that differ by seconds."""


@dataclass(frozen=True, slots=True)
class Age:
    """`max_seconds`: how old a request may become in its stream. Times are Unix seconds."""

    max_seconds: float

    @property
    def margin_seconds(self) -> float:
        """How long before it would vanish a request is ended."""
        return min(MARGIN_SECONDS, self.max_seconds / 4)

    def __str__(self) -> str:
        return f"{self.max_seconds / 3600:g} h" if self.max_seconds >= 3600 else f"{self.max_seconds:g} s"

    def left_seconds(self, stored_at: float, now: float) -> float:
        """How long it may still be worked on; nothing is left at or below 0."""
        return stored_at + self.max_seconds - self.margin_seconds - now

    def is_over(self, stored_at: float, now: float) -> bool:
        return self.left_seconds(stored_at, now) <= 0
