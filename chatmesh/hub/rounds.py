"""When each reader is to be looked at next: pure. A look costs as much as is due, and ten thousand idle readers nothing."""

from __future__ import annotations

import heapq
import itertools

from chatmesh.hub.reader import Reader


class Rounds:
    """Takes the time as an argument. One who has left is still handed out once, when its time comes."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Reader]] = []
        self._numbers = itertools.count()  # readers have no order

    def __len__(self) -> int:
        return len(self._due)

    def add(self, reader: Reader, at: float) -> None:
        heapq.heappush(self._due, (at, next(self._numbers), reader))

    def due(self, now: float) -> list[Reader]:
        """Those whose time has come; each is handed out once, and added again by whoever looks."""
        found: list[Reader] = []
        while self._due and self._due[0][0] <= now:
            found.append(heapq.heappop(self._due)[2])
        return found
