"""The list of sessions, from the subjects that the streams hold."""

from __future__ import annotations

from dataclasses import dataclass

from chatmesh.broker.api import JetStreamApi
from chatmesh.broker.direct_get import DirectGet
from chatmesh.broker.requests import RequestQueue
from chatmesh.broker.streams import REQUESTS, TRANSCRIPT
from chatmesh.broker.transcript import visible_claim
from chatmesh.protocol import subjects
from chatmesh.protocol.tokens import Token, is_token

PAGE_LIMIT = 500
"""Two subjects for each session, and 1,024 to a request."""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session and its last claim; None for one whose first message waits for a worker."""

    session_id: Token
    message_id: Token | None
    updated_at: str | None


class Sessions:
    """Reads the list. Its cost grows with the number of sessions (about 50 bytes each from the broker)."""

    def __init__(self, api: JetStreamApi, direct_get: DirectGet, queue: RequestQueue) -> None:
        self._api = api
        self._queue = queue
        self._direct_get = direct_get

    async def page(self, *, after: str, limit: int, seconds: float) -> tuple[list[SessionRow], str | None]:
        """At most `limit` sessions behind `after` in the order of their ids, and where the next page begins. A page may
        be short, since erased sessions are found out late."""
        claimed = await self._names(TRANSCRIPT, subjects.CLAIM_ALL, 2)
        queued = await self._names(REQUESTS, subjects.EXECUTE_ALL, 3)
        names = sorted(name for name in claimed | queued if name > after)
        shown = names[: min(limit, PAGE_LIMIT)]
        if not shown:
            return [], None
        patterns = [pattern for name in shown for pattern in (subjects.claim(name), subjects.erased(name))]
        stored = await self._direct_get.each_last(TRANSCRIPT, *patterns, seconds=seconds)
        found = {message.subject: message for message in stored}
        rows: list[SessionRow] = []
        for name in shown:
            held = visible_claim(found.get(subjects.claim(name)), found.get(subjects.erased(name)))
            if held is not None:
                rows.append(SessionRow(name, held.claim.message_id, held.claim.timestamp))
            elif name in queued and await self._queue.queued(name, limit=1024, seconds=seconds):
                # Not one whose only request is to erase it.
                rows.append(SessionRow(name, None, None))
        return rows, shown[-1] if len(names) > len(shown) else None

    async def _names(self, stream: str, pattern: str, place: int) -> set[Token]:
        """The session ids in the subjects that match; `place` is where they stand."""
        subjects_there = await self._api.subjects(stream, pattern)
        return {Token(part) for subject in subjects_there if is_token(part := subject.split(".")[place])}
