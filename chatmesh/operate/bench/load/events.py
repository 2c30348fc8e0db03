"""What a reader got, taken apart after the measurement: pieces with their times into chunks with theirs. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from chatmesh.errors import ProtocolError

Piece = tuple[float, bytes]
"""When some bytes came, in seconds of the monotonic clock, and these bytes."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event. `at`: when its last byte came. `name` is `message` for chunks."""

    at: float
    name: str
    position: str
    body: dict[str, Any]


def told(pieces: Sequence[Piece], *, is_chunked: bool) -> list[Told]:
    """The events of a body, comments and the opening block left out. An unfinished last one is none yet. Raises
    ProtocolError for what is no event stream."""
    ends, text = _joined(pieces)
    if is_chunked:
        ends, text = _without_framing(ends, text)
    times = [at for at, _ in pieces]
    return [
        Told(times[bisect_left(ends, end)], name, position, body)
        for end, name, position, body in _events(text)
    ]


def _joined(pieces: Sequence[Piece]) -> tuple[list[int], bytes]:
    """Where each piece ends, and all of them as one."""
    ends, length = [], 0
    for _, data in pieces:
        length += len(data)
        ends.append(length)
    return ends, b"".join(data for _, data in pieces)


def _without_framing(ends: list[int], text: bytes) -> tuple[list[int], bytes]:
    """The same without the frames of chunked transfer: `ends` in the bare bytes, where each piece ended."""
    bare: list[bytes] = []
    frames: list[tuple[int, int]] = []  # where a frame's bytes begin, in `text` and in the bare bytes
    at = length = 0
    while (line := text.find(b"\r\n", at)) >= 0:
        size = _frame_size(text[at:line])
        if size == 0:
            break
        data = text[line + 2 : line + 2 + size]
        frames.append((line + 2, length))
        bare.append(data)
        length += len(data)
        at = line + 2 + size + 2
    return [_bare_end(end, frames, length) for end in ends], b"".join(bare)


def _bare_end(end: int, frames: list[tuple[int, int]], length: int) -> int:
    """How many bare bytes stand before `end`."""
    nearest = bisect_left(frames, (end, 0)) - 1
    if nearest < 0:
        return 0
    begin, before = frames[nearest]
    limit = frames[nearest + 1][1] if nearest + 1 < len(frames) else length
    return min(before + end - begin, limit)


def _frame_size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError as error:
        raise ProtocolError(f"expected the size of a chunk, got {line[:40]!r}") from error


def _events(text: bytes) -> Iterator[tuple[int, str, str, dict[str, Any]]]:
    """(end, name, position, body) of each event with data."""
    at = 0
    while (end := text.find(b"\n\n", at)) >= 0:
        name, position, data = "message", "", b""
        for line in text[at:end].split(b"\n"):
            if line.startswith(b"data: "):
                data = line[6:]
            elif line.startswith(b"id: "):
                position = line[4:].decode()
            elif line.startswith(b"event: "):
                name = line[7:].decode()
        at = end + 2
        if data:
            yield at, name, position, _body(data)


def _body(data: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"an event is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise ProtocolError(f"an event is {type(body).__name__}, no object")
    return body
