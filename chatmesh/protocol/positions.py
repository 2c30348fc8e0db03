"""Where a reader stands: the `id:` of every event, and how it is read back.

A position is opaque to clients. Inside: the epoch of the transcript stream (a stream that was made anew has another),
the session-wide offset of the record, how many events of that record were seen, the record's stream sequence (only a
hint where to start to read) and a short hash of the session, so that one session's position is foreign to another.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from chatmesh.protocol.tokens import Token

MAX_LENGTH = 64
_FORM = re.compile(r"([0-9a-z]{1,14})\.([0-9]{1,12})\.([0-9]{1,6})\.([0-9]{1,15})\.([0-9a-f]{8})", re.ASCII)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Position:
    """After `index` events of record `offset`, which lies at `seq`. Offset 0 is before everything."""

    offset: int
    index: int = 0
    seq: int = 0


START = Position(0)


class Scope:
    """Writes and reads the positions of one session in one epoch."""

    __slots__ = ("_head", "_tail")

    def __init__(self, epoch: str, session_id: Token) -> None:
        self._head = epoch
        self._tail = hashlib.blake2b(session_id.encode(), digest_size=4).hexdigest()

    def is_of(self, epoch: str) -> bool:
        return self._head == epoch

    def write(self, offset: int, index: int, seq: int) -> str:
        return f"{self._head}.{offset}.{index}.{seq}.{self._tail}"

    def frame(self, offset: int, seq: int) -> tuple[bytes, bytes]:
        """What stands before and behind the index in the positions of one record, for writing many at once."""
        return f"{self._head}.{offset}.".encode(), f".{seq}.{self._tail}".encode()

    def text(self, position: Position) -> str:
        return self.write(position.offset, position.index, position.seq)

    def read(self, text: str) -> Position | None:
        """The position in `text`; None where it is malformed, of another session or of another epoch."""
        if len(text) > MAX_LENGTH or (match := _FORM.fullmatch(text)) is None:
            return None
        epoch, offset, index, seq, tail = match.groups()
        if epoch != self._head or tail != self._tail:
            return None
        return Position(int(offset), int(index), int(seq))


def epoch_of(created_unix_ms: int) -> str:
    """The epoch of a stream made at that time, short."""
    text = ""
    while created_unix_ms > 0:
        created_unix_ms, digit = divmod(created_unix_ms, 36)
        text = _DIGITS[digit] + text
    return text or "0"
