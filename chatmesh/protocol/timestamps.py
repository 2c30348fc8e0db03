"""ISO 8601 times as the wire has them: UTC, milliseconds, `Z`.

`isoformat` would be the dearest part of a chunk (1.2 µs), so the part up to the second is kept, and the whole of it as long
as the millisecond lasts.
"""

from __future__ import annotations

from datetime import UTC, datetime


class Stamper:
    """Turns Unix seconds into `2025-11-17T20:30:05.123Z`; cheap while the second stays the same."""

    __slots__ = ("_millisecond", "_prefix", "_second", "_text")

    def __init__(self) -> None:
        self._millisecond = -1
        self._second = -1
        self._prefix = self._text = ""

    def __call__(self, unix_seconds: float) -> str:
        millisecond = int(unix_seconds * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._text = self._write(*divmod(millisecond, 1000))
        return self._text

    def _write(self, second: int, milliseconds: int) -> str:
        if second != self._second:
            self._second = second
            self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        return f"{self._prefix}{milliseconds:03d}Z"


iso = Stamper()
"""The process's own; safe to share, since it is pure but for what it remembers of the last second."""


def unix_seconds(text: object) -> int:
    """Whole seconds of such a time; 0 for what is none."""
    return int(unix_time(text))


def unix_time(text: object) -> float:
    """Such a time to the millisecond; 0 for what is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0
