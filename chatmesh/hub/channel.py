"""One session on this pod: its live readers, and the order in which they are served. Never waits.

`last` is the offset through which every live reader was served. A live record that is not `last + 1` is a duplicate, or
shows a hole: then what comes is kept while the mender fills from the transcript.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chatmesh.broker import HeldClaim
from chatmesh.hub.foreign import ForeignOrder
from chatmesh.hub.kept import Kept
from chatmesh.hub.reader import Reader
from chatmesh.protocol import sse
from chatmesh.protocol.messages import ResponseChunk
from chatmesh.protocol.positions import Position, Scope
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import metrics

MAX_FOREIGN = 32
"""Foreign answers whose order is kept at a time in one session; the oldest is forgotten first."""

MAX_EXPECTED = 256
"""Messages of one session that were accepted here and have not ended; what is beyond is watched all the same."""

MAX_AHEAD = 64
"""Records kept behind a hole. One that does not fit is read from the transcript, like the hole."""


class Channel:
    """`mend` asks for a look at the transcript from `last_seq` on; it may be called often, a look is one. `watch` asks for
    a look at the clock, as long as the channel `is_waiting`.

    `heard` is the offset that whoever attaches has to have read. It is doubtful (`is_doubtful`) until a reader was served
    so far, since a live record behind a hole may be nobody's. What was claimed up to `floor`, a stream sequence, is erased;
    what was accepted before `erased`, a place in the work queue, was erased while somebody was here.
    """

    __slots__ = (
        "_ahead",
        "_expected",
        "_foreign",
        "_keeping",
        "_mend",
        "_watch",
        "erased",
        "floor",
        "heard",
        "heard_seq",
        "is_active",
        "is_doubtful",
        "is_mending",
        "is_unsure",
        "last",
        "last_seq",
        "live",
        "quiet_checks",
        "readers",
        "scope",
        "session_id",
        "touched",
    )

    def __init__(
        self,
        session_id: Token,
        scope: Scope,
        *,
        mend: Callable[[Channel], None],
        watch: Callable[[Channel], None],
    ) -> None:
        self.session_id = session_id
        self.scope = scope
        self.readers = 0
        self.live: set[Reader] = set()
        self.last = 0
        self.last_seq = 0
        self.floor = 0
        self.erased = 0
        self.heard = 0
        self.heard_seq = 0
        self.is_active = False
        self.is_mending = False
        self.is_doubtful = False
        self.is_unsure = False
        self.touched = 0.0
        self.quiet_checks = 0
        # Made when they are needed: in most sessions somebody has a page open, and nothing happens.
        self._ahead: dict[int, Record] | None = None
        self._expected: set[Token] | None = None
        self._foreign: dict[Token, ForeignOrder] | None = None
        self._keeping: set[Kept] | None = None
        self._mend = mend
        self._watch = watch

    @property
    def is_waiting(self) -> bool:
        """For the rest of an answer, or for chunks in a hole of a foreign one."""
        return self.is_active or any(order.is_waiting for order in self._orders())

    @property
    def seems_new(self) -> bool:
        """Nothing was ever stored of the session, as far as was read from its beginning and heard since."""
        is_heard_of = self.heard or self.floor or self._ahead or self._foreign or self.is_waiting
        is_sure = not (is_heard_of or self.is_mending or self.is_unsure)
        return is_sure and any(reader.message_id is None for reader in self.live)

    def activate(self) -> None:
        """An answer is under way: silence is looked at."""
        if not self.is_active:
            self.is_active = True
            self._watch(self)

    def look(self) -> None:
        """What was sent may have gone elsewhere: asks the transcript, once somebody is live."""
        if self.live:
            self._mend(self)
        else:
            self.is_unsure = True

    def attach(self, reader: Reader, read_to: int, read_seq: int) -> bool:
        """Makes a reader live that has been fed through offset `read_to`. False: more was heard of meanwhile, so it has
        to read on. Nothing may wait between that last read and this call."""
        if read_to < self.heard or self.is_in_doubt(reader):
            return False
        if not self.live:
            self.last, self.last_seq = read_to, read_seq
            self._ahead = None
        elif read_to > self.last:
            # The others were not served that far: what does not come by itself is looked for.
            self.activate()
        if read_to > self.heard:
            self.heard, self.heard_seq, self.is_doubtful = read_to, read_seq, False
        reader.offset = max(reader.offset, read_to)
        self._end_keeping(reader)
        reader.is_live = True
        self.live.add(reader)
        if self.is_unsure:
            self.is_unsure = False
            self._mend(self)
        return True

    def detach(self, reader: Reader) -> None:
        reader.is_live = False
        self.live.discard(reader)
        self._end_keeping(reader)

    def is_in_doubt(self, reader: Reader) -> bool:
        """Whether the one message that it reads may have been erased with the session."""
        return reader.message_id is not None and reader.since < self.erased

    # --- foreign chunks for those who are not live -------------------------------------------------------------------

    @property
    def is_keeping(self) -> bool:
        """Somebody is on the way to being live."""
        return self._keeping is not None

    def keep(self, kept: Kept) -> None:
        """From now on foreign chunks are added to it."""
        if self._keeping is None:
            self._keeping = set()
        self._keeping.add(kept)

    def forget(self, kept: Kept) -> None:
        if self._keeping is not None:
            self._keeping.discard(kept)
            self._keeping = self._keeping or None

    def _end_keeping(self, reader: Reader) -> None:
        kept, reader.kept = reader.kept, None
        if kept is not None:
            self.forget(kept)

    def _let_go(self, reader: Reader) -> None:
        """It is not live any more, and will be again, or has ended."""
        self.live.discard(reader)
        if not reader.is_finished and reader.kept is None:
            reader.kept = Kept(reader.message_id)
            self.keep(reader.kept)

    # --- what comes ------------------------------------------------------------------------------------------------

    def on_record(self, record: Record, now: float) -> None:
        """A stored record, live or read by the mender, in any order and any number of times."""
        if record.resets_all:
            self.erased = max(self.erased, record.queue_seq)
        if not self.live and record.offset > self.heard:
            self.heard, self.heard_seq, self.is_doubtful = record.offset, record.seq, True
        if not self.live:
            return
        if record.offset <= self.last:
            if record.seq > self.last_seq:
                # No duplicate: numbers have begun anew, perhaps. The transcript knows.
                self._mend(self)
            return
        if record.offset > self.last + 1:
            self._keep(record)
            self._mend(self)
            return
        self._emit(record, now)
        while self._ahead and (following := self._ahead.pop(self.last + 1, None)) is not None:
            self._emit(following, now)

    def _keep(self, record: Record) -> None:
        """Until the hole before it is filled, where there is room."""
        if self._ahead is None:
            self._ahead = {}
        if len(self._ahead) < MAX_AHEAD:
            self._ahead[record.offset] = record

    def doubt(self, heard: int, now: float) -> None:
        """What was heard of is not in the transcript: nobody's, or not there yet, which silence will show."""
        if self.heard == heard:
            self.heard = self.heard_seq = 0
        self.expect(now)

    def jump(self, record: Record, now: float) -> None:
        """The transcript itself goes on at `record`: what lies before is gone for good (expired, unreadable, or erased, which
        `record` says itself)."""
        if not record.resets_all:
            position = Position(record.offset, 0, record.seq)
            payload = sse.reset("gap", position=self.scope.text(position))
            for reader in self.live:
                reader.lose(payload, position)
        self.last = record.offset - 1
        self.on_record(record, now)

    def is_begun_anew(self, record: Record) -> bool:
        """Whether the transcript goes on at `record` since everything before it has expired: offsets count from 1 then."""
        return record.offset == 1 <= self.last and record.seq > self.last_seq

    def begin_anew(self, record: Record, now: float) -> None:
        """What readers who stayed for so long have shown is no part of the session any more."""
        for reader in self.live:
            if reader.offset and reader.seq < record.seq:
                reader.restart("position_expired")
        self.last = self.heard = self.heard_seq = 0
        self._ahead = None
        self.on_record(record, now)

    def outlive(self) -> None:
        """What was heard of has expired: whoever comes now can't have read it."""
        self.heard = self.heard_seq = 0
        self.is_doubtful = False
        self.look()

    def on_foreign(self, chunk: ResponseChunk, now: float) -> None:
        """A chunk that no transcript holds, from somebody else's worker."""
        if self._foreign is None:
            self._foreign = {}
        order = self._foreign.get(chunk.message_id)
        if order is None:
            if len(self._foreign) >= MAX_FOREIGN:
                del self._foreign[next(iter(self._foreign))]
            order = self._foreign[chunk.message_id] = ForeignOrder()
        self._show(order.add(chunk, now))
        if order.is_waiting:
            self._watch(self)

    def expire_foreign(self, now: float) -> None:
        """Gives up holes in foreign answers that were waited for long enough."""
        for order in self._orders():
            if order.is_waiting:
                self._show(order.expire(now))

    def _orders(self) -> Iterable[ForeignOrder]:
        return self._foreign.values() if self._foreign else ()

    def _show(self, chunks: list[ResponseChunk]) -> None:
        for chunk in chunks:
            payload = sse.chunk(chunk.encode())
            for kept in self._keeping or ():
                kept.add(chunk, len(payload))
            for reader in list(self.live):
                if not reader.show(chunk, payload):
                    self._let_go(reader)
                    if reader.kept is not None:
                        reader.kept.add(chunk, len(payload))

    def expect(self, now: float, message_id: Token | None = None) -> None:
        """Something is going to come (up to the end of that message, where it is known which): watch for silence."""
        if message_id is not None:
            if self._expected is None:
                self._expected = set()
            if len(self._expected) < MAX_EXPECTED:
                self._expected.add(message_id)
        self.activate()
        self.touched = now
        self.quiet_checks = 0

    def hear_of(self, held: HeldClaim, now: float) -> None:
        """An answer has begun. Of one that was not shown since, something is going to come, or was lost."""
        if held.token > self.last_seq:
            self.expect(now, held.claim.message_id)

    def _emit(self, record: Record, now: float) -> None:
        payload = sse.events(record, self.scope)
        if record.offset > self.heard:
            self.heard, self.heard_seq, self.is_doubtful = record.offset, record.seq, False
        self.last, self.last_seq = record.offset, record.seq
        self.touched = now
        self.quiet_checks = 0
        if self._expected and record.final is not None:
            self._expected.discard(record.message_id)
        if record.resets_all:  # erased, and whatever was on its way with it
            self._expected = None
        if self._expected or (record.final is None and not record.resets_all):
            self.activate()
        else:
            self.is_active = False
        if record.token <= self.floor:
            # Of what was erased: its worker has not heard of it yet. It may be another's session by now.
            for reader in self.live:
                reader.skip(record)
            return
        for reader in list(self.live):
            reader.push(record, payload)
            if record.resets_all and self.is_in_doubt(reader):
                reader.step_back()
            if not reader.is_live:
                self._let_go(reader)
        metrics.chunks_delivered.inc(len(record.chunks) * len(self.live))
