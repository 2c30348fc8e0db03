"""An event stream read to the letter of WHATWG HTML 9.2.6, and once more by httpx-sse. They have to agree."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from httpx_sse._decoders import SSEDecoder, SSELineDecoder


@dataclass(frozen=True)
class Event:
    """As a browser dispatches it. `id` is the last event id at that moment."""

    type: str
    data: str
    id: str


@dataclass
class Seen:
    """What a browser knows at the end of the stream."""

    events: list[Event] = field(default_factory=list)
    last_id: str = ""
    retry: int | None = None


def read(stream: bytes) -> Seen:
    seen = _by_the_standard(stream)
    assert _by_httpx(stream) == seen.events
    return seen


def _by_the_standard(stream: bytes) -> Seen:
    seen = Seen()
    text = stream.decode().removeprefix("\ufeff")
    data: list[str] = []
    kind, last_id = "", ""
    # An unfinished last line is no line.
    for line in re.split(r"\r\n|\n|\r", text)[:-1]:
        if not line:
            seen.last_id = last_id
            if data:
                seen.events.append(Event(kind or "message", "\n".join(data), last_id))
            data, kind = [], ""
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                data.append(value)
            case "event":
                kind = value
            case "id" if "\0" not in value:
                last_id = value
            case "retry" if re.fullmatch("[0-9]+", value):
                seen.retry = int(value)
    return seen


def _by_httpx(stream: bytes) -> list[Event]:
    lines, events = SSELineDecoder(), SSEDecoder()
    found = [events.decode(line) for line in [*lines.decode(stream.decode()), *lines.flush()]]
    return [Event(event.event, event.data, event.id) for event in found if event is not None and event.data]
