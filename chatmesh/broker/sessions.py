"""The list of sessions, from the subjects that the streams hold."""

from __future__ import annotations

from dataclasses import dataclass

from chatmesh.broker.api import JetStreamApi
from chatmesh.broker.direct_get import DirectGet
from chatmesh.broker.homes import Homes
from chatmesh.broker.ownership import Ownership
from chatmesh.broker.requests import RequestQueue
from chatmesh.broker.streams import REQUESTS, SESSIONS
from chatmesh.broker.transcript import visible_claim
from chatmesh.protocol import subjects
from chatmesh.protocol.callers import Caller
from chatmesh.protocol.cards import owner_of
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
    """Reads the list. Its cost grows with the number of sessions (about 50 bytes each from the broker): of the caller's own
    where callers are told apart, else of all."""

    def __init__(
        self,
        api: JetStreamApi,
        direct_get: DirectGet,
        queue: RequestQueue,
        ownership: Ownership,
        homes: Homes,
    ) -> None:
        self._homes = homes
        self._api = api
        self._ownership = ownership
        self._queue = queue
        self._direct_get = direct_get

    async def page(
        self, caller: Caller, *, after: str, limit: int, seconds: float
    ) -> tuple[list[SessionRow], str | None]:
        """At most `limit` of the caller's sessions behind `after` in the order of their ids, and where the next page
        begins. A page may be short, since erased sessions are found out late."""
        names = sorted(name for name in await self._known(caller) if name > after)
        shown = names[: min(limit, PAGE_LIMIT)]
        following = shown[-1] if len(names) > len(shown) else None
        own = [name for name in shown if await self._ownership.is_theirs(caller, name)]
        return await self._rows(own, seconds), following

    async def _known(self, caller: Caller) -> set[Token]:
        """More than there are, perhaps: of what was erased, or begun by somebody else."""
        if self._ownership.is_on:
            return await self._names(SESSIONS, subjects.owned_by(owner_of(caller.tenant, caller.user)), 3)
        claimed: set[Token] = set()
        for stream in self._homes.layout.streams:
            claimed |= await self._names(stream, subjects.CLAIM_ALL, 2)
        return claimed | await self._names(REQUESTS, subjects.EXECUTE_ALL, 3)

    async def _rows(self, shown: list[Token], seconds: float) -> list[SessionRow]:
        if not shown:
            return []
        patterns = [pattern for name in shown for pattern in (subjects.claim(name), subjects.erased(name))]
        found = {
            message.subject: message
            for stream in self._homes.layout.streams
            for message in await self._direct_get.each_last(stream, *patterns, seconds=seconds)
        }
        rows: list[SessionRow] = []
        for name in shown:
            held = visible_claim(found.get(subjects.claim(name)), found.get(subjects.erased(name)))
            if held is not None:
                rows.append(SessionRow(name, held.claim.message_id, held.claim.timestamp))
            elif await self._queue.queued_ids(name, limit=1024, seconds=seconds):
                # Not one whose only request is to erase it.
                rows.append(SessionRow(name, None, None))
        return rows

    async def _names(self, stream: str, pattern: str, place: int) -> set[Token]:
        """The session ids in the subjects that match; `place` is where they stand."""
        subjects_there = await self._api.subjects(stream, pattern)
        return {Token(part) for subject in subjects_there if is_token(part := subject.split(".")[place])}
