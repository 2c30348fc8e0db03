"""A replica that is behind, as any follower may be for some milliseconds."""

from __future__ import annotations

from typing import Any

from chatmesh.broker import Broker, DirectGet, RequestQueue, Stored, Transcript
from chatmesh.broker.direct_get import Page


class LaggingReplica(DirectGet):
    """Answers its next `answers` questions as if nothing behind sequence `has` were stored yet."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker.connection, broker.replies)
        self.has, self.answers = 0, 0

    def lag(self, has: int, answers: int) -> None:
        self.has, self.answers = has, answers

    async def page(self, stream: str, subject: str, **asked: Any) -> Page:
        page = await super().page(stream, subject, **asked)
        return Page([stored for stored in page.messages if stored.seq <= self.has]) if self._lags() else page

    async def first(self, stream: str, subject: str, *, seq: int = 1, seconds: float) -> Stored | None:
        stored = await super().first(stream, subject, seq=seq, seconds=seconds)
        is_hidden = self._lags() and stored is not None and stored.seq > self.has
        return None if is_hidden else stored

    async def last(self, stream: str, subject: str, *, seconds: float) -> Stored | None:
        stored = await super().last(stream, subject, seconds=seconds)
        is_hidden = self._lags() and stored is not None and stored.seq > self.has
        return None if is_hidden else stored

    def _lags(self) -> bool:
        self.answers -= 1
        return self.answers >= 0


def behind(broker: Broker) -> LaggingReplica:
    """From now on this process reads from a replica that lags when it is told to."""
    replica = LaggingReplica(broker)
    broker.transcript = Transcript(replica, broker.publisher, broker.vault, broker.homes)
    broker.queue = RequestQueue(replica, broker.publisher, broker.vault, broker.homes)
    return replica
