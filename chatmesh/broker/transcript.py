"""The transcript: claims and records of every session, those of one session in one stream.

`docs/protocol.md` has the layout. Reading is by Direct Get; writing is fenced: a record is stored only while the claim
under whose token it was written is the session's last one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from chatmesh.broker.direct_get import PAGE_BYTES, DirectGet, Page, Stored
from chatmesh.broker.homes import Home, Homes
from chatmesh.broker.layout import Part
from chatmesh.broker.publisher import Done, Publisher
from chatmesh.broker.sparse import sparse_page
from chatmesh.broker.states import HeldClaim, MessageState, Records, SessionState
from chatmesh.broker.streams import TRANSCRIPT
from chatmesh.broker.vault import Vault
from chatmesh.errors import BrokerUnreachableError, FencedError, KeyMissingError, ProtocolError
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.records import TOMBSTONE, Claim, Erasure, Record
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger, metrics

log = get_logger("broker")

PAGE_RECORDS = 256

LAG_SECONDS = 0.01
"""Before a replica is asked again that has not stored yet what another one has acknowledged: 1 to 20 ms as a rule."""


class Transcript:
    """Reads and writes the transcript. Stateless.

    `fenced` is false for the one who wants to see what the fence is good for: who lost a claim then still writes.
    """

    def __init__(
        self,
        direct_get: DirectGet,
        publisher: Publisher,
        vault: Vault,
        homes: Homes,
        *,
        fenced: bool = True,
    ) -> None:
        self._direct_get = direct_get
        self._publisher = publisher
        self._vault = vault
        self._homes = homes
        self._fenced = fenced

    async def epoch(self, session_id: Token, *, seconds: float) -> str:
        """Which birth of the session's stream this is; positions of another one are foreign."""
        home = await self._homes.find(session_id, seconds=seconds)
        return self._homes.layout.epoch(home.part or 0)

    def epoch_now(self, session_id: Token) -> str:
        """The same as far as it is known without asking; of a session that is not known, where it would begin."""
        return self._homes.layout.epoch(self._homes.likely(session_id).part or 0)

    @property
    def is_replicated(self) -> bool:
        """A read may be answered by a server that is behind what was heard already."""
        return self._homes.is_replicated

    @property
    def generation(self) -> int:
        """Rises when a stream was made anew."""
        return self._homes.layout.generation

    @property
    def parts(self) -> tuple[Part, ...]:
        """The streams that it lies in."""
        return self._homes.layout.parts

    async def state(
        self, session_id: Token, message_id: Token, *, seconds: float, token: int = 0
    ) -> MessageState:
        """The session's claim, the message's last record and its stop, by one request. What was erased is still seen
        here: a worker has to follow every claim. `token`: asked again until the claim of that sequence is seen, or a
        later one, so that nothing stored before it is missed."""
        deadline = time.monotonic() + seconds
        while True:
            state = await self._state(session_id, message_id, seconds)
            if not token or (state.claim is not None and state.claim.token >= token):
                return state
            if time.monotonic() >= deadline:
                raise _behind(token)
            await asyncio.sleep(LAG_SECONDS)

    async def _state(self, session_id: Token, message_id: Token, seconds: float) -> MessageState:
        home = await self._homes.find(session_id, seconds=seconds)
        claim, record = subjects.claim(session_id), subjects.transcript(session_id, message_id)
        stop, erased = subjects.stop(session_id, message_id), subjects.erased(session_id)
        found = {
            stored.subject: stored
            for stored in await self._direct_get.each_last(
                home.stream, claim, record, stop, erased, seconds=seconds
            )
        }
        erasure = _erasure(found.get(erased))
        # One of before the session was erased was another message's, of the same id.
        is_stopped = stop in found and (erasure is None or found[stop].seq > erasure.seq)
        return MessageState(
            _claim(found.get(claim)), await self._record(found.get(record)), is_stopped, erasure
        )

    async def session(self, session_id: Token, *, seconds: float) -> SessionState:
        """What readers may see of the session's state, by one request."""
        home = await self._homes.find(session_id, seconds=seconds)
        claim, erased = subjects.claim(session_id), subjects.erased(session_id)
        found = {
            stored.subject: stored
            for stored in await self._direct_get.each_last(home.stream, claim, erased, seconds=seconds)
        }
        held = visible_claim(found.get(claim), found.get(erased))
        return SessionState(held, _erasure(found.get(erased)))

    async def mark_erased(
        self, session_id: Token, erase_id: Token, queue_seq: int, timestamp: str, *, seconds: float
    ) -> None:
        """From here on nobody sees what was claimed before. Once for each erase request, whoever writes it."""
        home = await self._homes.begin(session_id, seconds=seconds)
        await self._publisher.publish(
            home.subject(subjects.erased(session_id)),
            Erasure.encode(session_id, queue_seq, timestamp),
            message_headers=headers.own() | {headers.MSG_ID: f"{session_id}:erased:{erase_id}"},
            deadline_seconds=seconds,
        )

    async def bury(self, session_id: Token, message_id: Token, token: int, *, seconds: float) -> None:
        """Replaces everything stored of a message by a tombstone, under the claim `token`."""
        home = await self._homes.begin(session_id, seconds=seconds)
        message_headers = headers.own() | {
            headers.ROLLUP: "sub",
            headers.EXPECTED_SUBJECT_SEQUENCE: str(token),
            headers.EXPECTED_SUBJECT: subjects.claim(session_id),
        }
        await self._publisher.publish(
            home.subject(subjects.transcript(session_id, message_id)),
            TOMBSTONE,
            message_headers=message_headers,
            deadline_seconds=seconds,
        )

    async def stop(self, session_id: Token, message_id: Token, body: bytes, *, seconds: float) -> None:
        """Stores that the message is to be stopped; once, however often asked."""
        home = await self._homes.begin(session_id, seconds=seconds)
        subject, name = (
            home.subject(subjects.stop(session_id, message_id)),
            f"{session_id}:stop:{message_id}",
        )
        ack = await self._publisher.publish(
            subject, body, message_headers=headers.own() | {headers.MSG_ID: name}, deadline_seconds=seconds
        )
        if ack.duplicate:
            erasure = (await self.session(session_id, seconds=seconds)).erasure
            if erasure is not None and ack.seq < erasure.seq:
                # JetStream remembers the stop of a message that was erased with its session, and had this id.
                again = headers.own() | {headers.MSG_ID: f"{name}:{erasure.seq}"}
                await self._publisher.publish(subject, body, message_headers=again, deadline_seconds=seconds)

    async def next_claim(self, part: Part, *, seconds: float) -> int:
        """A sequence of that part behind which every claim that comes lies, of any session."""
        return await self._homes.layout.last_seq(part, seconds=seconds) + 1

    async def claims(
        self, part: Part, seq: int, *, limit: int, seconds: float
    ) -> tuple[list[HeldClaim], int, bool]:
        """Claims of every session of that part from `seq` on, at most `limit`; where to read on; and whether there are
        more."""
        page = await self._direct_get.page(
            part.stream, subjects.CLAIM_ALL, seq=seq, limit=limit, seconds=seconds, try_seconds=seconds
        )
        next_seq = page.messages[-1].seq + 1 if page.messages else seq
        return [held for stored in page.messages if (held := _claim(stored))], next_seq, page.more

    async def last_claim(self, session_id: Token, *, seconds: float) -> HeldClaim | None:
        """The session's claim, or None for a session that has not begun."""
        home = await self._homes.find(session_id, seconds=seconds)
        stored = await self._direct_get.last(home.stream, subjects.claim(session_id), seconds=seconds)
        return _claim(stored)

    async def last_record(self, session_id: Token, message_id: Token, *, seconds: float) -> Record | None:
        """The message's last record: its state. None where it has not begun."""
        home = await self._homes.find(session_id, seconds=seconds)
        stored = await self._direct_get.last(
            home.stream, subjects.transcript(session_id, message_id), seconds=seconds
        )
        return await self._record(stored)

    async def first_record(self, session_id: Token, message_id: Token, *, seconds: float) -> Record | None:
        """The message's first record: what was asked."""
        home = await self._homes.find(session_id, seconds=seconds)
        stored = await self._direct_get.first(
            home.stream, subjects.transcript(session_id, message_id), seconds=seconds
        )
        return await self._record(stored)

    async def page(
        self,
        session_id: Token,
        *,
        message_id: Token | None = None,
        seq: int,
        limit: int,
        seconds: float,
        floor: int = 0,
        max_bytes: int = PAGE_BYTES,
    ) -> Records:
        """Records of the session (or of one message) from stream sequence `seq` on, at most `limit`, and no further one
        where they have reached `max_bytes`; without those under claims up to `floor`, which were erased."""
        home = await self._homes.find(session_id, seconds=seconds)
        if message_id is not None:
            subject = subjects.transcript(session_id, message_id)
            page = await self._direct_get.page(
                home.stream, subject, seq=seq, limit=limit, seconds=seconds, max_bytes=max_bytes
            )
        else:
            page = await self._sparse_page(
                home, session_id, subjects.transcript_of(session_id), seq, limit, seconds, max_bytes
            )
        next_seq = page.messages[-1].seq + 1 if page.messages else seq
        records = [await self._record(stored) for stored in page.messages]
        return Records([record for record in records if record and record.token > floor], next_seq, page.more)

    async def has_records(self, session_id: Token, *, seconds: float) -> bool:
        """Whether there are any of the session, by the account of the stream's leader, which is never behind."""
        home = await self._homes.find(session_id, seconds=seconds)
        return await self._homes.layout.has_any(home.stream, subjects.transcript_of(session_id))

    async def records_before(
        self, session_id: Token, token: int, *, seq: int, seconds: float
    ) -> AsyncIterator[Record]:
        """Every record of the session from `seq` up to the claim `token`, oldest first. Raises BrokerUnreachableError where
        the claim is not seen within `seconds`."""
        async for stored in self._stored_before(session_id, token, seq, seconds):
            if record := await self._record(stored):
                yield record

    async def messages_before(self, session_id: Token, token: int, *, seconds: float) -> set[Token]:
        """The messages that have records there, readable or not."""
        return {
            subjects.of_transcript(stored.subject)[1]
            async for stored in self._stored_before(session_id, token, 1, seconds)
            if stored.body != TOMBSTONE
        }

    async def _stored_before(
        self, session_id: Token, token: int, seq: int, seconds: float
    ) -> AsyncIterator[Stored]:
        """With several servers a page may come from one that has not stored yet what the others have acknowledged, and
        whose last record would be taken for the last there is. So the claim itself is read along, and until it is seen
        nothing is known to be whole."""
        home = await self._homes.find(session_id, seconds=seconds)
        deadline = time.monotonic() + seconds
        while seq <= token:
            page = await self._sparse_page(
                home, session_id, subjects.session_log(session_id), seq, PAGE_RECORDS, seconds
            )
            for stored in page.messages:
                seq = stored.seq + 1
                if stored.seq < token and subjects.is_record(stored.subject):
                    yield stored
            if seq <= token and not page.more:
                if time.monotonic() >= deadline:
                    raise _behind(token)
                await asyncio.sleep(LAG_SECONDS)

    async def _sparse_page(
        self,
        home: Home,
        session_id: Token,
        pattern: str,
        seq: int,
        limit: int,
        seconds: float,
        max_bytes: int = PAGE_BYTES,
    ) -> Page:
        return await sparse_page(
            self._direct_get,
            home.stream,
            pattern,
            seq=seq,
            limit=limit,
            seconds=seconds,
            max_bytes=max_bytes,
            hints=lambda: self._hints(home, session_id, seconds),
            follows=self._follows if self._homes.is_replicated else None,
        )

    async def _hints(self, home: Home, session_id: Token, seconds: float) -> Sequence[int]:
        """Where the session's last messages begin."""
        held = _claim(await self._direct_get.last(home.stream, subjects.claim(session_id), seconds=seconds))
        return () if held is None else (*held.claim.recent, held.first)

    async def _follows(self, before: Stored, after: Stored) -> bool:
        """By the session's own count of its records. Where that can't be read, nobody knows."""
        if not subjects.is_record(before.subject):
            return False
        stands, begins = await self._offset(before), await self._offset_in_front_of(after)
        return stands is not None and stands == begins

    async def _offset(self, stored: Stored) -> int | None:
        try:
            record = await self._record(stored)
        except KeyMissingError:
            return None
        return None if record is None else record.offset

    async def _offset_in_front_of(self, stored: Stored) -> int | None:
        """Of a record, or of a message's first claim: a later one says what its holder knew, which may be less."""
        if subjects.is_record(stored.subject):
            offset = await self._offset(stored)
            return None if offset is None else offset - 1
        held = _claim(stored) if subjects.is_claim(stored.subject) else None
        is_first = held is not None and held.claim.attempt == 1 and not held.claim.first
        return held.claim.base if held is not None and is_first else None

    async def claim(self, claim: Claim, *, after: int, seconds: float) -> int | None:
        """Writes a claim where `after` is the session's last one (0: none). Returns its token; None where somebody
        else was first. A claim whose acknowledgement was lost is recognised by its nonce."""
        home = await self._homes.begin(claim.session_id, seconds=seconds)
        message_headers = headers.own() | {
            headers.EXPECTED_SUBJECT_SEQUENCE: str(after),
            headers.MSG_ID: f"{claim.session_id}:claim:{claim.nonce}",
        }
        try:
            ack = await self._publisher.publish(
                home.subject(subjects.claim(claim.session_id)),
                claim.encode(),
                message_headers=message_headers,
                deadline_seconds=seconds,
            )
        except FencedError:
            # The sequence is checked before the message id: our own claim, sent twice, is refused too.
            last = await self.last_claim(claim.session_id, seconds=seconds)
            return last.token if last is not None and last.claim.nonce == claim.nonce else None
        return ack.seq

    async def append(
        self,
        session_id: Token,
        message_id: Token,
        token: int,
        batch: int,
        body: bytes,
        done: Done,
        *,
        seconds: float,
        traceparent: str = "",
    ) -> None:
        """Stores a record under the claim `token`; `done` gets the acknowledgement, or FencedError where another worker
        has the session. `batch` counts the records of this claim: with the token it makes the message id, so that a
        second attempt's differing batch 0 is no duplicate of the first one's."""
        message_headers = headers.own(traceparent) | {
            headers.MSG_ID: f"{session_id}:{message_id}:{token}:{batch}"
        }
        if self._fenced:
            message_headers |= {
                headers.EXPECTED_SUBJECT_SEQUENCE: str(token),
                headers.EXPECTED_SUBJECT: subjects.claim(session_id),
            }
        home = self._homes.known(session_id) or await self._homes.begin(session_id, seconds=seconds)
        subject = home.subject(subjects.transcript(session_id, message_id))
        self._publisher.send(subject, body, message_headers, done, deadline_seconds=seconds)

    async def _record(self, stored: Stored | None) -> Record | None:
        """A record, or None for what is none, or was erased: somebody else may write to the subject, and one bad body must
        not take the session's whole replay with it. Raises KeyMissingError where it can't be opened here: what is left out
        would look like what was never said."""
        if stored is None or stored.body == TOMBSTONE:
            return None
        session_id, message_id = subjects.of_transcript(stored.subject)
        try:
            return await self._vault.record(stored.body, session_id, message_id, stored.seq)
        except ProtocolError as error:
            _tell_undecodable(stored, error)
            return None


def _behind(token: int) -> BrokerUnreachableError:
    return BrokerUnreachableError(
        f"the claim {token} was acknowledged, but the server that was asked does not have it",
        where=TRANSCRIPT,
        mend="Look whether its replicas are current (`nats stream info`).",
    )


def visible_claim(claim: Stored | None, erased: Stored | None) -> HeldClaim | None:
    """The claim, unless the session was erased since, or is being erased under it."""
    held = _claim(claim)
    if held is None or held.claim.erases or (erased is not None and held.token < erased.seq):
        return None
    return held


def _claim(stored: Stored | None) -> HeldClaim | None:
    """What is no claim fences all the same: it is somebody's who is gone, of a message that nobody knows."""
    if stored is None:
        return None
    try:
        return HeldClaim(Claim.decode(stored.body), stored.seq)
    except ProtocolError as error:
        _tell_undecodable(stored, error)
        return HeldClaim(Claim.unknown(Token(subjects.third_token(stored.subject))), stored.seq)


def _erasure(stored: Stored | None) -> Erasure | None:
    if stored is None:
        return None
    try:
        return Erasure.decode(stored.body, stored.seq)
    except ProtocolError as error:
        _tell_undecodable(stored, error)
        return None


def _tell_undecodable(stored: Stored, error: ProtocolError) -> None:
    metrics.errors.labels("broker", "undecodable_record").inc()
    log.error("broker.undecodable_record", subject=stored.subject, seq=stored.seq, error=str(error))
