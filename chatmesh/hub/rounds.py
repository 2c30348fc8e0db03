"""When each reader is to be looked at next: pure. A look costs as much as is due, and ten thousand idle readers nothing."""

from __future__ import annotations

import heapq
import math
from itertools import chain

from chatmesh.hub.reader import Reader

GRAIN_SECONDS = 0.25
"""Who is due within it is looked at together, at its end: one entry in one table for each reader."""


class Rounds:
    """Takes the time as an argument. Of one who has left nothing is kept."""

    def __init__(self) -> None:
        self._due: list[int] = []
        self._rounds: dict[int, dict[Reader, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._rounds.values()))

    def add(self, reader: Reader, at: float) -> None:
        """Once at a time: again when it was handed out."""
        number = math.ceil(at / GRAIN_SECONDS)
        readers = self._rounds.get(number)
        if readers is None:
            readers = self._rounds[number] = {}
            heapq.heappush(self._due, number)
        readers[reader] = None
        reader.round = readers

    def remove(self, reader: Reader) -> None:
        readers, reader.round = reader.round, None
        if readers is not None:
            readers.pop(reader, None)

    def due(self, now: float) -> list[Reader]:
        """Those whose time has come; each is handed out once, and added again by whoever looks."""
        found: list[dict[Reader, None]] = []
        while self._due and self._due[0] * GRAIN_SECONDS <= now:
            found.append(self._rounds.pop(heapq.heappop(self._due)))
        readers = list(chain.from_iterable(found))
        for reader in readers:
            reader.round = None
        return readers
