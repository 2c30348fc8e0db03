"""Several sessions on one connection, in which words: as native events, but each `id:` says where the connection stands in every
session. Whoever sends back the last one goes on in all of them, without a hole and without anything twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from chatmesh.hub.wires import Native
from chatmesh.protocol import sse
from chatmesh.protocol.messages import ResponseChunk
from chatmesh.protocol.positions import START, Position, Scope
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token

SEPARATOR = ","


class Places:
    """Of one connection. `texts`: the position in each session as it was written last, in the order of the request."""

    __slots__ = ("is_over", "texts")

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)
        self.is_over = False
        """Its last event was written."""

    def __str__(self) -> str:
        return SEPARATOR.join(self.texts)

    def around(self, number: int) -> tuple[str, str]:
        """What stands before and behind the position in that session."""
        before = "".join(text + SEPARATOR for text in self.texts[:number])
        behind = "".join(SEPARATOR + text for text in self.texts[number + 1 :])
        return before, behind


def split(text: str, count: int) -> list[str]:
    """The positions in a `Last-Event-ID`. Where they are not so many, each is one that can't be found."""
    texts = text.split(SEPARATOR)
    return texts if len(texts) == count and all(texts) else ["?"] * count


class Shared(Native):
    """The events of one of the sessions, the one of that number. No other connection gets the same bytes."""

    __slots__ = ("_number", "_places", "_session_id")
    is_shared = False

    def __init__(self, session_id: Token, scope: Scope, places: Places, number: int) -> None:
        super().__init__(scope)
        self._session_id = session_id
        self._places = places
        self._number = number

    def record(self, record: Record, skip: int) -> bytes:
        if self._places.is_over:
            return b""
        payload = sse.events(record, self, skip=skip, names_session=True)
        self._move(Position(record.offset, record.events, record.seq))
        return payload

    def foreign(self, chunk: ResponseChunk) -> bytes:
        return b"" if self._places.is_over else super().foreign(chunk)

    def reset(self, reason: str, position: Position = START) -> bytes:
        if self._places.is_over:
            return b""
        self._move(position)
        return sse.reset(reason, position=str(self._places), session_id=self._session_id)

    def goodbye(self, reason: str) -> bytes:
        """For all of the sessions, so it is said once, and nothing comes behind it."""
        is_over, self._places.is_over = self._places.is_over, True
        return b"" if is_over else super().goodbye(reason)

    def _move(self, position: Position) -> None:
        self._places.texts[self._number] = self.scope.text(position)

    # --- as `sse.Ids` ----------------------------------------------------------------------------------------------

    def write(self, offset: int, index: int, seq: int) -> str:
        before, behind = self._places.around(self._number)
        return before + self.scope.write(offset, index, seq) + behind

    def frame(self, offset: int, seq: int) -> tuple[bytes, bytes]:
        before, behind = self._places.around(self._number)
        head, tail = self.scope.frame(offset, seq)
        return before.encode() + head, tail + behind.encode()
