"""Server-sent events out of bytes as they come: pure.

Reads of any size come in, whole events go out, in one pass over each byte. Lines end with LF, CRLF or CR, wherever a read
cuts them; comments, `id` and `retry` are dropped. An event larger than the bound is a ProviderError, so that a server
can't fill this process with one line.
"""

from __future__ import annotations

from dataclasses import dataclass

from chatmesh.errors import ProviderError

MAX_EVENT_BYTES = 4 * 1024 * 1024
"""Far above any token, and above a whole answer that a server sends as one piece."""


@dataclass(frozen=True, slots=True)
class Event:
    """`name` is empty for an unnamed one."""

    name: str
    data: str


class Splitter:
    """Fed with bytes, gives back the events that they complete."""

    def __init__(self, *, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._is_first_line = True
        self._ended_with_cr = False
        # Of a line that has not ended yet. Joined once, when it ends: joining at each read costs the square of its length.
        self._parts: list[bytes] = []
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, read: bytes) -> list[Event]:
        """The events that end in `read`."""
        if self._ended_with_cr and read:
            self._ended_with_cr = False
            read = read.removeprefix(b"\n")
        events = []
        # Of bytes, splitlines() splits at LF, CRLF and CR only.
        for line in read.splitlines(keepends=True):
            self._count(len(line))
            self._parts.append(line)
            if line.endswith((b"\n", b"\r")):
                event = self._line(b"".join(self._parts).rstrip(b"\r\n"))
                self._parts.clear()
                if event is not None:
                    events.append(event)
        self._ended_with_cr = read.endswith(b"\r")
        return events

    def end(self) -> list[Event]:
        """The event that the end of the stream completes: some servers leave the last blank line out."""
        event = self._line(b"".join(self._parts)) if self._parts else None
        self._parts.clear()
        return [event for event in (event, self._dispatch()) if event is not None]

    def _count(self, more: int) -> None:
        self._size += more
        _check(self._size, self._max_bytes)

    def _line(self, line: bytes) -> Event | None:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode(errors="replace")
        elif not field and not self._data:
            # A comment: keep-alives may go on for hours and belong to no event.
            self._size = 0
        return None

    def _dispatch(self) -> Event | None:
        name, data = self._name, self._data
        self._name, self._data, self._size = "", [], 0
        return Event(name, b"\n".join(data).decode(errors="replace")) if data else None


class Whole:
    """A body that is one event, such as the JSON of a server that does not stream."""

    def __init__(self, *, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._body = bytearray()

    def feed(self, read: bytes) -> list[Event]:
        self._body += read
        _check(len(self._body), self._max_bytes)
        return []

    def end(self) -> list[Event]:
        return [Event("", self._body.decode(errors="replace"))]


def _check(size: int, most: int) -> None:
    if size > most:
        raise ProviderError(
            f"the model's server sent an event of more than {most} bytes", code="provider_invalid"
        )
