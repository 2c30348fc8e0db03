"""Sessions ↔ readers on this pod. State only; the services beside it bring records, time and readers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from chatmesh.broker import Transcript
from chatmesh.hub.channel import Channel
from chatmesh.hub.deliveries import Deliveries
from chatmesh.hub.kept import Kept
from chatmesh.hub.reader import Reader
from chatmesh.hub.rounds import Rounds
from chatmesh.kernel import Mailbox, MailboxClosed, MailboxFull
from chatmesh.protocol.callers import Caller
from chatmesh.protocol.messages import ResponseChunk
from chatmesh.protocol.positions import Scope
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import metrics


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Bounds. Times in seconds, sizes in bytes, for each reader."""

    max_connections: int
    max_buffer_bytes: int
    keepalive_seconds: float
    max_readers_per_session: int | None = None


@dataclass(slots=True)
class Seat:
    """For a reader who is coming. Foreign chunks are kept for it, so it is reserved before anybody could think that they would
    be shown: before the opening block is written, or the request published. `queue_seq`: where its message stands in the
    work queue, where that is known."""

    channel: Channel
    kept: Kept
    is_taken: bool = False
    queue_seq: int = 0


class Hub:
    """Every channel of the pod. `mending` is the mender's mailbox."""

    def __init__(
        self,
        transcript: Transcript,
        settings: HubSettings,
        mending: Mailbox[Channel],
        deliveries: Deliveries | None = None,
    ) -> None:
        self.settings = settings
        self._transcript = transcript
        self._mending = mending
        self.deliveries = deliveries or Deliveries()
        self._channels: dict[Token, Channel] = {}
        self._watched: set[Channel] = set()
        self.readers: set[Reader] = set()
        self._further = 0
        self.rounds = Rounds()
        self.is_leaving = False
        """Readers are being sent away."""
        self._mend, self._watch = self.mend, self.watch  # one of each for all channels

    def channel(self, session_id: Token) -> Channel | None:
        return self._channels.get(session_id)

    def seems_new(self, session_id: Token) -> bool:
        """Whether somebody reads the session here in which nothing was said, as far as was heard."""
        channel = self._channels.get(session_id)
        return channel is not None and channel.seems_new

    def watched(self) -> list[Channel]:
        """The channels that wait for something."""
        return list(self._watched)

    def watch(self, channel: Channel) -> None:
        if self._channels.get(channel.session_id) is channel:
            self._watched.add(channel)

    def unwatch(self, channel: Channel) -> None:
        self._watched.discard(channel)

    def scope(self, session_id: Token) -> Scope:
        """How positions of the session are written now. Another epoch makes another scope."""
        return Scope(self._transcript.epoch_now(session_id), session_id)

    def enter(self, session_id: Token, scope: Scope | None = None) -> Channel:
        """A reader is coming, whose positions are of `scope`; its channel exists until `leave`."""
        channel = self._channels.get(session_id)
        if channel is None:
            if scope is None or not scope.is_of(self._transcript.epoch_now(session_id)):
                scope = self.scope(session_id)
            channel = self._channels[session_id] = Channel(
                session_id, scope, mend=self._mend, watch=self._watch
            )
        channel.readers += 1
        return channel

    def reserve(self, session_id: Token, message_id: Token | None, scope: Scope | None = None) -> Seat:
        """A reader is coming, of all of the session or of one message. To be taken, or given back."""
        seat = Seat(self.enter(session_id, scope), Kept(message_id))
        seat.channel.keep(seat.kept)
        return seat

    def take(self, seat: Seat, reader: Reader) -> Channel:
        """The reader is there. Its channel exists until `leave`."""
        channel = seat.channel
        if self._channels.get(channel.session_id) is not channel:
            # Another epoch has begun meanwhile, and that channel is nobody's.
            channel = self.enter(channel.session_id)
            channel.keep(seat.kept)
        seat.is_taken = True
        reader.kept = seat.kept
        return channel

    def give_back(self, seat: Seat) -> None:
        """Unless it was taken."""
        if not seat.is_taken:
            seat.channel.forget(seat.kept)
            self.leave(seat.channel)

    def leave(self, channel: Channel) -> None:
        channel.readers -= 1
        if not channel.readers and self._channels.get(channel.session_id) is channel:
            del self._channels[channel.session_id]
            self.unwatch(channel)

    def add(self, reader: Reader) -> None:
        self.readers.add(reader)
        self._further += reader.is_further
        self.rounds.add(reader, time.monotonic() + self.settings.keepalive_seconds)
        metrics.readers.set(self.connections)
        if self.is_leaving:
            reader.leave()

    def recheck(self, is_known: Callable[[Caller], bool]) -> None:
        """Ends the streams of callers who are not known any more."""
        for reader in list(self.readers):
            if reader.caller is not None and not is_known(reader.caller):
                reader.leave("revoked")

    def remove(self, reader: Reader) -> None:
        self.readers.discard(reader)
        self._further -= reader.is_further
        self.rounds.remove(reader)
        metrics.readers.set(self.connections)

    @property
    def connections(self) -> int:
        """Open event streams. One may have several readers, each of a session."""
        return len(self.readers) - self._further

    def is_full(self, *session_ids: Token) -> bool:
        """Whether one more reader of each of the sessions is one too many, of all or of a session's."""
        if len(self.readers) + len(session_ids) > self.settings.max_connections:
            return True
        return any(self._is_crowded(session_id) for session_id in session_ids)

    def _is_crowded(self, session_id: Token) -> bool:
        channel, most = self._channels.get(session_id), self.settings.max_readers_per_session
        is_crowded = most is not None and channel is not None and channel.readers >= most
        if is_crowded:
            metrics.limited.labels("session_readers").inc()
        return is_crowded

    def on_record(self, record: Record, traceparent: str = "") -> None:
        """A batch that came live, and the trace that it names."""
        channel = self._channels.get(record.session_id)
        if channel is None:
            return
        if traceparent and record.offset > channel.last:
            self.deliveries.begin(record, traceparent)
        channel.on_record(record, time.monotonic())
        # Behind a hole it has not been shown yet: the mender ends it.
        if record.final is not None and (record.offset <= channel.last or not channel.live):
            self.deliveries.end(record, channel.readers)

    def on_foreign(self, chunk: ResponseChunk) -> bool:
        """A chunk of somebody else's worker. Whether it, or another one, may be kept for a reader."""
        channel = self._channels.get(chunk.session_id)
        if channel is None:
            return False
        channel.on_foreign(chunk, time.monotonic())
        return channel.is_keeping

    def expect(self, session_id: Token, message_id: Token | None = None) -> None:
        """An answer is on its way in that session."""
        channel = self._channels.get(session_id)
        if channel is not None:
            channel.expect(time.monotonic(), message_id)

    def mend(self, channel: Channel) -> None:
        """Asks for a look at the transcript. Where too many wait already, the pulse asks again."""
        if channel.is_mending:
            return
        try:
            self._mending.send_nowait(channel)
            channel.is_mending = True
        except (MailboxFull, MailboxClosed):
            channel.expect(time.monotonic())

    def mend_all(self) -> None:
        """After anything that may have cost live batches: a reconnect, a full inbox."""
        for channel in self._channels.values():
            channel.look()

    def look(self, session_id: Token) -> None:
        """After the registry heard late of a session."""
        channel = self._channels.get(session_id)
        if channel is not None:
            channel.look()

    @property
    def generation(self) -> int:
        """Of the transcript as it is now; another one where a stream of it was made anew."""
        return self._transcript.generation

    def begin_epoch(self) -> None:
        """The transcript is another one, and offsets count from 1 again. Every stream ends; its reader comes back with
        a position of the old epoch, and gets a reset."""
        for reader in list(self.readers):
            reader.finish()
        self._channels.clear()
        self._watched.clear()
