"""Sessions as an operator sees them: what is queued or running first, then the others, the latest claim first.

In: a broker, and what to look for. Out: a row for each session, without what was said in it. What it costs goes with how
many rows are asked for, not with how many sessions there are: the transcript is read backwards, piece by piece.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from chatmesh.broker import Backlog, Broker, HeldClaim, Stored
from chatmesh.broker.streams import REGISTRY, REQUESTS, TRANSCRIPT
from chatmesh.operate.members import Members
from chatmesh.operate.pages import READ_SECONDS, walk
from chatmesh.operate.standings import standings, unfinished
from chatmesh.operate.streams import require, transcripts
from chatmesh.protocol import subjects
from chatmesh.protocol.tokens import Token, is_token

FIRST_PIECE = 1024
"""Sequences of the transcript that are looked at first, from its end; each further piece is twice as long."""

MAX_CLAIMS = 20_000
"""Claims that are read at most; about 300 bytes each."""

MAX_BUSY = 10_000
"""Sessions with something queued that are looked at."""

AT_ONCE = 100
"""Sessions whose readers are asked for by one request: ten pods of each, and 1,024 to a request."""


class Activity(StrEnum):
    """Of a session. QUEUED: something of it waits, and nothing is being answered. IDLE: nothing is queued."""

    RUNNING = "running"
    QUEUED = "queued"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which sessions: their ids (with `*` and `?`), what they do, at which worker, with readers at which pod. At most `limit`,
    and behind `before`, the `following` of a page (0: from the first one)."""

    ids: str = "*"
    activity: Activity | None = None
    worker_id: str | None = None
    pod_id: str | None = None
    limit: int = 50
    before: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """`held` is the last claim, None where nobody has begun; `unanswered` counts its requests; `pods` have readers of it."""

    session_id: Token
    activity: Activity
    unanswered: int
    held: HeldClaim | None
    pods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sessions:
    """`following`: the `before` of the next page, where there may be one: the sequence of a claim, or where the transcript
    lies in parts its time in Unix milliseconds. `has_more_busy`: more are queued or running than
    were asked for."""

    sessions: tuple[Session, ...]
    following: int | None = None
    has_more_busy: bool = False


async def list_sessions(broker: Broker, members: Members, wanted: Wanted) -> Sessions:
    """Raises BrokerError."""
    for stream in (REQUESTS, REGISTRY):
        await require(broker, stream)
    streams = await transcripts(broker)
    looking = _Looking(broker, members, await Backlog(broker.api).by_session(), wanted)
    busy: list[Session] = []
    if not wanted.before and wanted.activity is not Activity.IDLE:
        busy = await looking.busy()
    if len(busy) > wanted.limit or wanted.activity in (Activity.RUNNING, Activity.QUEUED):
        return Sessions(tuple(busy[: wanted.limit]), None, len(busy) > wanted.limit)
    limit = wanted.limit - len(busy)
    if len(streams) > 1:
        idle, following = await looking.idle_of_parts(streams, limit)
    else:
        end = wanted.before - 1 if wanted.before else await _last(broker, TRANSCRIPT)
        idle, following = await looking.idle(end, limit)
    return Sessions((*busy, *idle), following)


class _Looking:
    """One question, and what it is answered from."""

    def __init__(self, broker: Broker, members: Members, backlog: dict[Token, int], wanted: Wanted) -> None:
        self._broker = broker
        self._members = members
        self._backlog = backlog
        self._wanted = wanted

    async def busy(self) -> list[Session]:
        """What is queued or running, by name; one more than are wanted, if there are."""
        names = sorted(name for name in self._backlog if fnmatchcase(name, self._wanted.ids))
        found: list[Session] = []
        for at in range(0, min(len(names), MAX_BUSY), AT_ONCE):
            found += await self._rows(names[at : at + AT_ONCE])
            if len(found) > self._wanted.limit:
                break
        return found[: self._wanted.limit + 1]

    async def idle(self, end: int, limit: int) -> tuple[list[Session], int | None]:
        """The others whose last claim is at `end` or before it, the latest first; and where the next page begins."""
        found: list[Session] = []
        following: int | None = None
        async for claimed, start in _latest(self._broker, TRANSCRIPT, end):
            own = [name for name in claimed if self._may_be_idle(name)]
            for at in range(0, len(own), AT_ONCE):
                found += await self._rows(own[at : at + AT_ONCE])
                if len(found) > limit:
                    return found[:limit], _before(found[:limit], end)
            following = start if start > 1 else None
        return found, following

    async def idle_of_parts(self, streams: Sequence[str], limit: int) -> tuple[list[Session], int | None]:
        """The same of a transcript in parts, by the time of the claims: sequences of two parts say nothing of each other.
        From the end of each part for every page, so deep pages cost more; and one may be short."""
        before, found = self._wanted.before, list[tuple[int, Token]]()
        for stream in streams:
            count = 0
            async for claimed, _ in _latest(self._broker, stream, await _last(self._broker, stream)):
                own = [
                    (ms, name)
                    for name, ms in claimed.items()
                    if self._may_be_idle(name) and not 0 < before <= ms
                ]
                found += own
                count += len(own)
                if count > limit:
                    break
        found.sort(reverse=True)
        rows: list[Session] = []
        for at in range(0, min(limit, len(found)), AT_ONCE):
            rows += await self._rows([name for _, name in found[at : min(limit, at + AT_ONCE)]])
        return rows, found[limit - 1][0] if 0 < limit < len(found) else None

    def _may_be_idle(self, name: Token) -> bool:
        return name not in self._backlog and fnmatchcase(name, self._wanted.ids)

    async def _rows(self, names: Sequence[Token]) -> list[Session]:
        stand = await standings(self._broker, names)
        held = {name: each.visible for name, each in stand.items()}
        running = await unfinished(
            self._broker,
            [
                each
                for name, each in held.items()
                if each and name in self._backlog and not each.claim.handed_over
            ],
        )
        chosen = [
            Session(name, self._activity(name, running), self._backlog.get(name, 0), held.get(name))
            for name in names
        ]
        chosen = [session for session in chosen if self._is_wanted(session)]
        pods = await self._pods([session.session_id for session in chosen])
        rows = [replace(session, pods=pods.get(session.session_id, ())) for session in chosen]
        return [row for row in rows if self._wanted.pod_id in (None, *row.pods)]

    def _activity(self, name: Token, running: set[Token]) -> Activity:
        if name not in self._backlog:
            return Activity.IDLE
        return Activity.RUNNING if name in running else Activity.QUEUED

    def _is_wanted(self, session: Session) -> bool:
        wanted, held = self._wanted, session.held
        if session.activity is Activity.IDLE and held is None:
            return False  # erased
        is_whole = not self._broker.layout.is_partitioned
        if is_whole and wanted.before and held is not None and held.token >= wanted.before:
            return False
        if wanted.worker_id is not None and (held is None or held.claim.worker_id != wanted.worker_id):
            return False
        return wanted.activity in (None, session.activity)

    async def _pods(self, names: Sequence[Token]) -> dict[Token, tuple[str, ...]]:
        """Pods with readers; entries of a life that is over do not count."""
        found: dict[Token, tuple[str, ...]] = {}
        for holder in await self._broker.registry.holders_of(names, seconds=READ_SECONDS):
            if not self._members.has_died("pod", holder.pod_id, holder.boot):
                found[holder.session_id] = (*found.get(holder.session_id, ()), holder.pod_id)
        return found


async def _last(broker: Broker, stream: str) -> int:
    last: int = (await require(broker, stream))["state"]["last_seq"]
    return last


async def _latest(broker: Broker, stream: str, end: int) -> AsyncIterator[tuple[dict[Token, int], int]]:
    """Sessions with a claim at `end` or before it, the latest claim first, piece by piece; each once, with the time of the
    claim in Unix milliseconds. And where the piece begins. Stops at MAX_CLAIMS."""
    size, read = FIRST_PIECE, 0
    seen: set[Token] = set()
    while end > 0 and read < MAX_CLAIMS:
        start = max(1, end - size + 1)
        last: dict[Token, Stored] = {}
        async for stored in walk(broker, stream, subjects.CLAIM_ALL, seq=start):
            if stored.seq > end:
                break
            read += 1
            name = subjects.third_token(stored.subject)
            if is_token(name):
                last[Token(name)] = stored
        latest = sorted(last.items(), key=lambda claimed: claimed[1].seq, reverse=True)
        yield {name: round(stored.unix_seconds * 1000) for name, stored in latest if name not in seen}, start
        seen.update(last)
        end, size = start - 1, 2 * size


def _before(shown: Sequence[Session], end: int) -> int:
    held = shown[-1].held if shown else None
    return held.token if held is not None else end + 1
