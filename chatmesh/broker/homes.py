"""In which part of the transcript a session lies.

Where the transcript is one stream, nothing is asked. Where it lies in parts, a session's is recorded before the first message
of it is accepted, in the stream of the cards: whoever is first decides for all, and the number of parts may change under it.
A session of before it was cut into parts lies in the first one, as everything did. One whose part was deleted begins anew.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chatmesh.broker.direct_get import DirectGet
from chatmesh.broker.layout import Layout
from chatmesh.broker.publisher import Publisher
from chatmesh.broker.streams import SESSIONS, TRANSCRIPT, StreamSettings, transcript_name
from chatmesh.errors import BrokerUnreachableError, FencedError, PublishUnknownError
from chatmesh.protocol import headers, partitions, subjects
from chatmesh.protocol.tokens import Token

MAX_KNOWN = 65_536
"""Sessions whose part is remembered; about 200 bytes each."""

UNRECORDED_SECONDS = 60.0
"""How long it is remembered that a session of before lies in the first part. Only for reading."""

AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Home:
    """`part` is None where the transcript is one stream."""

    part: int | None

    @property
    def stream(self) -> str:
        return transcript_name(self.part or 0)

    def subject(self, stored: str) -> str:
        """Where what is to be stored under that subject is published."""
        return stored if self.part is None else subjects.of_part(self.part, stored)


WHOLE = Home(None)
_HOMES = tuple(Home(part) for part in range(partitions.MAX_PARTITIONS))


@dataclass(frozen=True, slots=True)
class _Known:
    """`fresh_until`, `until`: on the clock. After the first its record is written again by whoever accepts a message.
    `epoch` of its part: where that was deleted, and perhaps made anew, somebody may have put the session elsewhere."""

    home: Home
    epoch: str
    fresh_until: float
    until: float


class Homes:
    """Remembers, within bounds and times."""

    def __init__(
        self,
        layout: Layout,
        direct_get: DirectGet,
        publisher: Publisher,
        settings: StreamSettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.layout = layout
        self._direct_get = direct_get
        self._publisher = publisher
        self._settings = settings
        self._clock = clock
        self._known: OrderedDict[Token, _Known] = OrderedDict()

    @property
    def is_replicated(self) -> bool:
        """Two reads may be answered by two servers, either of them behind the other."""
        return self._settings.replicas > 1

    def known(self, session_id: Token) -> Home | None:
        """As far as it is known without asking."""
        return self._remembered(session_id) if self.layout.is_partitioned else WHOLE

    def likely(self, session_id: Token) -> Home:
        """Where it is not known: where it would begin."""
        return self.known(session_id) or self._first_choice(session_id)

    async def find(self, session_id: Token, *, seconds: float) -> Home:
        """For reading. Of a session that has not begun: where it would begin. Raises BrokerError."""
        await self.layout.ensure_known()
        if not self.layout.is_partitioned:
            return WHOLE
        home = self._remembered(session_id)
        if home is not None:
            return home
        _, home = await self._recorded(session_id, seconds)
        return home or await self._proposed(session_id, seconds)

    async def begin(self, session_id: Token, *, seconds: float) -> Home:
        """For writing: recorded from now on, if it was not. Raises BrokerError, CapacityError; nothing was written then."""
        await self.layout.ensure_known()
        if not self.layout.is_partitioned:
            return WHOLE
        if self._is_fresh(session_id):
            return self._known[session_id].home
        deadline = time.monotonic() + seconds
        while True:
            after, home = await self._recorded(session_id, seconds)
            if home is not None and self._is_fresh(session_id):
                return home
            home = home or await self._proposed(session_id, seconds, is_certain=True)
            try:
                await self._record(session_id, home, after, seconds)
                return home
            except FencedError:
                # Somebody else was first; a replica may not show it yet.
                if time.monotonic() >= deadline:
                    raise _undecided(session_id) from None
                await asyncio.sleep(AGAIN_SECONDS)
            except PublishUnknownError as error:
                raise _undecided(session_id) from error

    def published(self, pattern: str) -> str:
        """Filter: what is being stored under `pattern`, on its way there."""
        return subjects.of_parts(pattern) if self.layout.is_partitioned else pattern

    async def learn(self, session_id: Token, message_headers: Mapping[str, str]) -> None:
        """From a request's headers, which say what was recorded when it was accepted. Raises BrokerError."""
        part = partitions.named(message_headers)
        if part is None or self._remembered(session_id) is not None:
            return
        if not self.layout.is_partitioned:
            await self.layout.look()  # whoever accepted it knows more
        if self.layout.is_partitioned and await self.layout.still_has(part):
            self._remember(session_id, _HOMES[part], self._clock(), self._settings.cards_refresh_seconds)

    def headers(self, home: Home) -> dict[str, str]:
        """For a request, so that its worker need not ask."""
        return {} if home.part is None else {headers.HOME: str(home.part)}

    def _remembered(self, session_id: Token) -> Home | None:
        known = self._good(session_id)
        return known.home if known is not None and self._clock() < known.until else None

    def _is_fresh(self, session_id: Token) -> bool:
        known = self._good(session_id)
        return known is not None and self._clock() < known.fresh_until

    def _good(self, session_id: Token) -> _Known | None:
        known = self._known.get(session_id)
        if known is None or not self.layout.has(known.home.part or 0):
            return None
        return known if known.epoch == self._epoch(known.home) else None

    def _epoch(self, home: Home) -> str:
        return self.layout.epoch(home.part or 0)

    def _remember(self, session_id: Token, home: Home, stored_at: float, seconds: float) -> None:
        fresh_until = stored_at + min(seconds, self._settings.cards_refresh_seconds)
        self._keep(session_id, _Known(home, self._epoch(home), fresh_until, stored_at + seconds))

    def _keep(self, session_id: Token, known: _Known) -> None:
        self._known[session_id] = known
        self._known.move_to_end(session_id)
        while len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    async def _recorded(self, session_id: Token, seconds: float) -> tuple[int, Home | None]:
        """What is recorded, and its sequence. What is no number, or the number of a part that was deleted, is taken for
        nothing, and written over: nothing of the session is left there, and nothing could be stored."""
        stored = await self._direct_get.last(SESSIONS, subjects.home(session_id), seconds=seconds)
        if stored is None:
            return 0, None
        part = partitions.read(stored.body.decode(errors="replace"))
        if part is None or not await self.layout.still_has(part):
            return stored.seq, None
        self._remember(session_id, _HOMES[part], stored.unix_seconds, self._settings.cards_max_age_seconds)
        return stored.seq, _HOMES[part]

    def _first_choice(self, session_id: Token) -> Home:
        """Among the parts that there are."""
        parts = self.layout.parts[: self._settings.partitions]
        return _HOMES[parts[partitions.proposed(session_id, len(parts))].number] if parts else _HOMES[0]

    async def _proposed(self, session_id: Token, seconds: float, *, is_certain: bool = False) -> Home:
        """`is_certain`: a replica that is behind would show none of what a session of before has said a moment ago, and
        it would begin a second time, elsewhere."""
        if not await self._is_of_before(session_id, seconds, is_certain):
            return self._first_choice(session_id)
        until = self._clock() + UNRECORDED_SECONDS
        self._keep(session_id, _Known(_HOMES[0], self._epoch(_HOMES[0]), 0.0, until))
        return _HOMES[0]

    async def _is_of_before(self, session_id: Token, seconds: float, is_certain: bool) -> bool:
        everything = subjects.session_log(session_id)
        if is_certain and self.is_replicated:
            return await self.layout.has_any(TRANSCRIPT, everything)
        return await self._direct_get.last(TRANSCRIPT, everything, seconds=seconds) is not None

    async def _record(self, session_id: Token, home: Home, after: int, seconds: float) -> None:
        await self._publisher.publish(
            subjects.home(session_id),
            str(home.part).encode(),
            message_headers=headers.own() | {headers.EXPECTED_SUBJECT_SEQUENCE: str(after)},
            deadline_seconds=seconds,
        )
        self._remember(session_id, home, self._clock(), self._settings.cards_refresh_seconds * 2)


def _undecided(session_id: Token) -> BrokerUnreachableError:
    return BrokerUnreachableError(
        f"it could not be recorded in which part of the transcript session {session_id} lies",
        where=SESSIONS,
        mend="NATS is away or overloaded.",
    )
