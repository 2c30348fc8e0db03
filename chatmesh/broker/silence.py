"""Streams that answer nothing though the connection lives: pure.

A disk that is really full is not said by JetStream: what is published to the stream that met it gets no answer any more,
until the server is restarted, while reads and other streams go on.
"""

from __future__ import annotations

NOT_STORING_SECONDS = 4.0
"""Of silence, before it is an alarm: three answers that did not come, all that a POST waits for."""


class Silence:
    """Which streams have been silent since when. Times in seconds of any monotonic clock."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._alarmed: set[str] = set()

    def unanswered(self, stream: str, sent: float, now: float) -> float | None:
        """What was sent then got no answer. Returns for how long nothing was stored, once, when that is an alarm."""
        seconds = now - self._since.setdefault(stream, sent)
        if seconds < NOT_STORING_SECONDS or stream in self._alarmed:
            return None
        self._alarmed.add(stream)
        return seconds

    def stored(self, stream: str) -> bool:
        """A publish was acknowledged. True where that ends an alarm."""
        self._since.pop(stream, None)
        was_alarmed = stream in self._alarmed
        self._alarmed.discard(stream)
        return was_alarmed
