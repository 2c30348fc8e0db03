"""One reader: where it stands, what it wants, and the sink to write to. Changed on the event loop only, never waits.

A reader is *live* while the channel pushes to it, and *behind* while a task feeds it from the transcript: at the beginning,
and again whenever it took its bytes too slowly. Its position goes with what was written, so nothing is
skipped and nothing comes twice, whichever way a record comes. What no transcript holds is kept for it while it is behind.

Where callers are told apart, a reader gets nothing live before somebody has seen whose the session is: one who waits for it
to begin, and everybody again when it was erased, since somebody else may begin it anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from chatmesh.broker import HeldClaim
from chatmesh.hub.kept import Kept
from chatmesh.hub.wires import Wire
from chatmesh.protocol.callers import Caller
from chatmesh.protocol.messages import ResponseChunk
from chatmesh.protocol.positions import Position
from chatmesh.protocol.records import Record
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import metrics
from chatmesh.web import Sink


class Reader:
    """`message_id` narrows it to one message; it is finished then with that message's final chunk, or when that was erased
    with its session (`since`: a place in the work queue; an erasure that stands in front of it does not concern the reader).
    `caller`: who reads, where callers are told apart."""

    __slots__ = (
        "_ended",
        "_last",
        "_max_buffer_bytes",
        "caller",
        "index",
        "is_asked",
        "is_checked",
        "is_finished",
        "is_further",
        "is_live",
        "kept",
        "message_id",
        "offset",
        "on_stop",
        "round",
        "seq",
        "since",
        "sink",
        "wire",
    )

    def __init__(
        self,
        sink: Sink,
        wire: Wire,
        position: Position,
        *,
        message_id: Token | None,
        max_buffer_bytes: int,
        caller: Caller | None = None,
        is_further: bool = False,
    ) -> None:
        self.caller = caller
        self.is_further = is_further
        """Another one has the same connection, and was there before."""
        self.is_checked = caller is None
        self.is_asked = False
        """Something came that it may not have before it is checked."""
        self.sink = sink
        self.wire = wire
        self.offset = position.offset
        self.index = position.index
        self.seq = position.seq
        self.message_id = message_id
        self.since = 0
        self.is_live = False
        self.is_finished = False
        self.kept: Kept | None = None
        """There while it is not live; of its channel."""
        self.round: dict[Reader, None] | None = None
        """Those who are looked at together with it; of `Rounds`."""
        self.on_stop: Callable[[], None] = nobody
        """Called whenever it is not live any more, or finished; from within a channel's loop, so it must only signal."""
        self._ended: tuple[Token, int] | None = None
        self._last: Record | None = None
        self._max_buffer_bytes = max_buffer_bytes

    @property
    def has_room(self) -> bool:
        return self.sink.buffered <= self._max_buffer_bytes

    @property
    def has_shown(self) -> bool:
        """Something of the one message that it reads, as far as that was not taken back since."""
        return self._last is not None

    def push(self, record: Record, payload: bytes) -> None:
        """A live record; `payload` is encoded once for all native readers. One who is too slow goes on from the
        transcript."""
        if record.offset <= self.offset or self.is_finished:
            return
        if self.sink.is_closed or not self.is_checked:
            self._stop()
        elif not self._wants(record):
            self._move(record)
        elif self.sink.buffered + len(payload) > self._max_buffer_bytes and self.sink.buffered:
            metrics.slow_readers.inc()
            self._stop()
        else:
            self._write(payload if self.wire.is_shared else self.wire.record(record, 0))
            self._move(record)
            self._look_for_end(record)

    def skip(self, record: Record) -> None:
        """A live record that nobody may see any more."""
        if record.offset > self.offset and not self.is_finished:
            self._move(record)

    def feed(self, record: Record) -> bool:
        """A record from the transcript, perhaps seen in part. False: the reader wants no more."""
        if record.offset == 1 <= self.offset and record.seq > self.seq:
            # The session's claims have expired meanwhile, so it has begun anew.
            self.restart("position_expired")
        if self.is_finished:
            return False
        if record.offset < self.offset:
            return True
        if record.request is not None and self._last is not None and record.offset > self.offset:
            # Its message begins once more: it was erased, and its id is used again.
            self.void(record.session_id)
            return False
        skip = self.index if record.offset == self.offset else 0
        if self._wants(record) and skip < record.events:
            self._write(self.wire.record(record, skip))
        self._move(record)
        self._look_for_end(record)
        return not self.is_finished

    def lose(self, payload: bytes, position: Position) -> None:
        """What comes next is gone for good, up to `position`; `payload` says so to native readers. One who is too slow to
        take it hears of it by what follows."""
        if not self.wire.is_resumable:
            self._write(self.wire.reset("gap"))
        elif not self.sink.is_closed and self.has_room:
            self._write(payload if self.wire.is_shared else self.wire.reset("gap", position))

    def show(self, chunk: ResponseChunk, payload: bytes) -> bool:
        """A chunk that no transcript holds. False: it has to be kept, until there is room for it or its caller is checked."""
        if self.is_finished or (self.message_id is not None and chunk.message_id != self.message_id):
            return True
        if not self.is_checked:
            self.is_asked = True
        if self.is_checked and self.has_room:
            self._say(chunk, payload)
            return True
        self._stop()
        return False

    def show_kept(self) -> bool:
        """What was kept, as far as there is room. True: that is all, and it may be live. One for whom too much came is cut: what
        it lacks is nowhere, and an end would pass for the answer's."""
        kept = self.kept
        if kept is None:
            return not self.is_finished
        if kept.lost and not self.is_finished:
            metrics.dropped.labels("slow_reader").inc(kept.lost)
            self._write(None)
        while kept and self.has_room and not self.is_finished:
            if self.caller is not None and not kept.checked:
                # The session may be another one's since it was checked: who is behind has not heard of an erasure yet.
                self.is_asked = True
                return False
            self._say(kept.take(), None)
        return not kept and not self.is_finished

    def _say(self, chunk: ResponseChunk, payload: bytes | None) -> None:
        is_ready = payload is not None and self.wire.is_shared
        self._write(payload if is_ready else self.wire.foreign(chunk))
        if chunk.is_final and self.message_id is not None:
            self.finish()

    def restart(self, reason: str) -> None:
        """What was shown is void: the position can't be found. Goes on with what is still there."""
        if self.is_finished:
            return
        self.offset = self.index = self.seq = 0
        self._last = None
        self._write(self.wire.reset(reason))

    def pass_check(self, kept: int) -> None:
        """The session is its caller's, as far as it was read, and as what was kept goes: so many chunks by then."""
        self.is_checked, self.is_asked = True, False
        if self.kept is not None:
            self.kept.checked = kept

    def turn_away(self) -> None:
        """The session is somebody else's. Nothing says so: whoever comes back is told like any stranger."""
        if not self.wire.is_resumable:
            self.sink.abort()
        self.finish()

    def void(self, session_id: Token) -> None:
        """Its message was erased with its session before it had ended: what was shown is void, and it ends as one that was
        stopped."""
        if self.is_finished or self.message_id is None:
            return
        if self.wire.is_resumable:
            self._write(self.wire.reset("session_erased", Position(self.offset, self.index, self.seq)))
        last = self._last.chunks[-1] if self._last is not None and self._last.chunks else {}
        shown = last.get("chunk_id")
        end = ResponseChunk(
            session_id,
            self.message_id,
            shown + 1 if isinstance(shown, int) else 0,
            "",
            is_final=True,
            metadata={"finish_reason": "cancelled"},
            timestamp=iso(time.time()),
            correlation_id=str(last.get("correlation_id", "")),
        )
        self._say(end, None)

    def leave(self, reason: str = "leaving") -> None:
        """The pod goes, or the caller may not read any more. The last event stands behind whatever waits: an end without it
        would pass for the answer's. One who never takes it is cut, and so is one whose format has none."""
        if not self.is_finished:
            self._write(self.wire.goodbye(reason))
            self.finish()

    def step_back(self) -> None:
        """From live, to be looked at."""
        self._stop()

    def finish(self) -> None:
        """Nothing more will come; who hears of it ends the stream."""
        self.is_finished = True
        self._stop()

    def _write(self, payload: bytes | None) -> None:
        if payload is None:
            self.sink.abort()
            self.finish()
        else:
            self.sink.write_nowait(payload)

    def _wants(self, record: Record) -> bool:
        return self.message_id is None or record.message_id == self.message_id

    def _move(self, record: Record) -> None:
        self.offset, self.index, self.seq = record.offset, record.events, record.seq
        if record.resets_all and self.caller is not None:
            self.is_checked = False
            if self.kept is not None:
                self.kept.clear()  # of what was erased, and perhaps of somebody else's
        if record.final is not None:
            self._ended = (record.message_id, record.token)

    def has_seen_end(self, held: HeldClaim) -> bool:
        """Whether the claimed answer has ended for this reader: it saw its final, or that of a later claim."""
        if self._ended is None:
            return False
        message_id, token = self._ended
        return message_id == held.claim.message_id or token > held.token

    def _look_for_end(self, record: Record) -> None:
        if self.message_id == record.message_id:
            self._last = record
            if record.final is not None:
                self.finish()

    def _stop(self) -> None:
        self.is_live = False
        self.on_stop()


def nobody() -> None:
    """Hears of a reader that is not followed, or not any more."""
