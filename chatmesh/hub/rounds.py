"""When each reader is to be looked at next: pure. A look costs as much as is due, and ten thousand idle readers nothing."""

from __future__ import annotations

import heapq
import itertools

from chatmesh.hub.reader import Reader


class Rounds:
    """Takes the time as an argument. Of one who has left nothing is kept but a number, until its time has come."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int]] = []
        self._readers: dict[int, Reader] = {}
        self._numbers: dict[Reader, int] = {}
        self._next = itertools.count()

    def __len__(self) -> int:
        return len(self._readers)

    def add(self, reader: Reader, at: float) -> None:
        """Once at a time: again when it was handed out."""
        number = self._numbers[reader] = next(self._next)
        self._readers[number] = reader
        heapq.heappush(self._due, (at, number))

    def remove(self, reader: Reader) -> None:
        number = self._numbers.pop(reader, None)
        if number is not None:
            del self._readers[number]

    def due(self, now: float) -> list[Reader]:
        """Those whose time has come; each is handed out once, and added again by whoever looks."""
        found: list[Reader] = []
        while self._due and self._due[0][0] <= now:
            reader = self._readers.pop(heapq.heappop(self._due)[1], None)
            if reader is not None:
                del self._numbers[reader]
                found.append(reader)
        return found
