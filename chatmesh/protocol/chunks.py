"""The chunks of a record: as they were written, and as objects once somebody asks.

A worker writes each chunk on a line of its own inside the record's JSON. So a pod, which shows chunks as they are, takes
them apart by line ends and neither parses them nor writes them again: 0.1 µs a token instead of 1.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import orjson

from chatmesh.errors import ProtocolError
from chatmesh.protocol import jsontext

FINAL = b'"is_final":true'
"""In a record's body, and in the line before a sealed one, this stands for a final chunk only: inside a text the quotes
would be escaped."""

HEAD_END = b',"chunks":['

WRITABLE_DEPTH = 250
"""What is read is written again, and orjson writes 254 levels."""

Objects = list[dict[str, Any]]


class Chunks(Sequence[dict[str, Any]]):
    """Made from one of both: `objects`, or `lines`, each the JSON of one chunk without line ends. Raises ProtocolError
    where a last line can't be read, and where the others can't, once they are asked for: see `read`."""

    __slots__ = ("_lines", "_objects", "final")

    def __init__(self, objects: Objects | None = None, *, lines: list[bytes] | None = None) -> None:
        self._objects = [] if objects is None and lines is None else objects
        self._lines = lines
        self.final: dict[str, Any] | None = None
        """The message's final chunk, if it is among these."""
        if lines is None or (lines and FINAL in lines[-1]):
            self.final = self._find_final()

    @property
    def lines(self) -> list[bytes]:
        if self._lines is None:
            self._lines = [orjson.dumps(chunk) for chunk in self.read()]
        return self._lines

    def read(self) -> Objects:
        """All of them as objects."""
        if self._objects is None:
            self._objects = [_read(line) for line in self._lines or ()]
        return self._objects

    def _find_final(self) -> dict[str, Any] | None:
        if self._objects is not None:
            last = self._objects[-1] if self._objects else {}
        else:
            last = _read(self.lines[-1])
        return last if last.get("is_final") is True else None

    def __len__(self) -> int:
        return len(self._lines) if self._lines is not None else len(self._objects or ())

    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> Objects: ...
    def __getitem__(self, at: int | slice) -> dict[str, Any] | Objects:
        return self.read()[at]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.read())

    def __eq__(self, other: object) -> bool:
        return self.read() == list(other) if isinstance(other, Sequence) else NotImplemented

    # As for a list: what can be compared by what it holds has no hash. mypy knows this form for classes without a base only.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Chunks({len(self)})"


def join(head: bytes, lines: Sequence[bytes]) -> bytes:
    """The record's body. `head` is its JSON object without the chunks and the closing brace. The commas have lines of
    their own, so that a chunk is a line from its first byte to its last."""
    if not lines:
        return b'%b,"chunks":[]}' % head
    return b'%b,"chunks":[\n%b\n]}' % (head, b"\n,\n".join(lines))


def split(body: bytes) -> tuple[bytes, list[bytes]] | None:
    """What `join` was given; None where the body was written in another way, or where the chunks don't begin with the ids
    that the record begins with: then only its JSON tells."""
    parts = body.split(b"\n")
    first, lines, commas = parts[0], parts[1:-1:2], parts[2:-1:2]
    ids = first[: first.find(b',"offset":')]
    is_ours = parts[-1] == b"]}" and first.endswith(HEAD_END) and ids and b"\r" not in body
    if not is_ours or not commas.count(b",") == len(commas) == len(lines) - 1:
        return None
    for line in lines:
        if not line.startswith(ids):
            return None
    return first[: -len(HEAD_END)] + b"}", lines


def check_depth(data: bytes, value: Any) -> None:
    """Raises ProtocolError where `value`, read from `data`, is nested too deep to be written again. Each level has a bracket;
    counting them costs a tenth of walking, and only a walk tells text from depth."""
    if data.count(b"{") + data.count(b"[") > WRITABLE_DEPTH:
        jsontext.check_depth(value, "record")


def _read(line: bytes) -> dict[str, Any]:
    try:
        chunk = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"not a chunk: {error}") from error
    if not isinstance(chunk, dict):
        raise ProtocolError("the chunks of a record must be a list of objects")
    check_depth(line, chunk)
    return chunk


def metadata_of(chunk: dict[str, Any]) -> dict[str, Any]:
    """A chunk's metadata; `{}` where it has none that can be read."""
    metadata = chunk.get("metadata")
    return metadata if isinstance(metadata, dict) else {}
