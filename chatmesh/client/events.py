"""An event stream's bytes become events (WHATWG HTML, 9.2.6), however the network has cut them: pure.

In: bytes as they come. Out: the events that are whole. A parser is for one connection; what it knows at its end
(`last_id`, `retry_ms`) goes into the next one. It interprets nothing: `data` stays text.
"""

from __future__ import annotations

from dataclasses import dataclass

from chatmesh.errors import ProtocolError

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""Of one event, and of one line: far above any chunk, for a broker's message is 1 MiB as a rule."""

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `name` is `message` for those without a name; `id` is the last id that was seen, "" before the first."""

    name: str
    data: str
    id: str


class EventParser:
    """Holds at most one unfinished event, of at most `MAX_EVENT_BYTES`."""

    def __init__(self, last_id: str = "", retry_ms: int | None = None) -> None:
        self.last_id = last_id
        self.retry_ms = retry_ms
        self.has_id = False
        """This connection has named a position: a pod that can't serve now says `retry:` only."""
        self._rest = b""
        self._is_first = True
        self._name = ""
        self._data: list[str] = []
        self._data_bytes = 0
        self._next_id = last_id

    def feed(self, piece: bytes) -> list[Event]:
        """The events that `piece` completes. Raises ProtocolError where one is larger than any of ours."""
        found = []
        for line in self._lines(self._rest + piece):
            event = self._on_line(line)
            if event is not None:
                found.append(event)
        return found

    def _lines(self, text: bytes) -> list[bytes]:
        """Whole lines, ended by LF, CR or CRLF; the rest is kept."""
        if self._is_first:
            if len(text) < len(_BOM) and _BOM.startswith(text):
                self._rest = text
                return []
            text = text.removeprefix(_BOM)
            self._is_first = False
        if b"\r" in text:
            # A CR at the very end may be half of a CRLF: kept until the next byte says so.
            held = text.endswith(b"\r")
            text = text.removesuffix(b"\r") if held else text
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") + (b"\r" if held else b"")
        *lines, self._rest = text.split(b"\n")
        self._check(len(self._rest))
        return lines

    def _on_line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, raw = line.partition(b":")
        value = raw.removeprefix(b" ")
        match name:
            case b"data":
                self._data_bytes += len(value)
                self._check(self._data_bytes)
                self._data.append(value.decode(errors="replace"))
            case b"event":
                self._name = value.decode(errors="replace")
            case b"id" if b"\0" not in value:
                self._next_id = value.decode(errors="replace")
                self.has_id = True
            case b"retry" if value.isdigit() and len(value) < 10:
                self.retry_ms = int(value)
        return None

    def _dispatch(self) -> Event | None:
        """At an empty line. Without data there is no event, but the id counts: the opening block has one."""
        self.last_id = self._next_id
        event = Event(self._name or "message", "\n".join(self._data), self.last_id) if self._data else None
        self._name, self._data, self._data_bytes = "", [], 0
        return event

    def _check(self, size: int) -> None:
        if size > MAX_EVENT_BYTES:
            raise ProtocolError(f"an event is larger than {MAX_EVENT_BYTES} bytes; no pod sends such a one")
