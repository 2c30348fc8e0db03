"""Which server is tried next after a loss, when, and when to give up: pure.

nats-py's own rules have no jitter in the wait, try a server once more often than they are told, take 0 for ever, and
count on where another server of the pool was the one that answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

FOR_EVER = -1


class Reconnects:
    """Tries since the connection was lost. `most`: of each server; FOR_EVER has no end.

    A server is named by its host and port. `is_over` stays true until `begin_anew`.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._tries: Counter[str] = Counter()
        self.is_over = False

    def next(self, servers: Sequence[str]) -> tuple[str, bool] | None:
        """The server that was tried least, and whether to wait before it: the first round of a loss does not. None:
        every one of them has been tried often enough."""
        server = min(servers, key=lambda name: self._tries[name])
        tries = self._tries[server]
        if self._most != FOR_EVER and tries >= self._most:
            self.is_over = True
            return None
        self._tries[server] += 1
        return server, tries > 0

    def add_round(self, servers: Sequence[str]) -> None:
        """Each was tried once, by a client made anew: the old one was closed for good."""
        self._tries.update(servers)
        if self._most != FOR_EVER and all(self._tries[name] >= self._most for name in servers):
            self.is_over = True

    def begin_anew(self) -> None:
        """There is a connection: a later loss counts from nothing."""
        self._tries.clear()
        self.is_over = False
