"""What comes from workers: batches on the pod's own subject, and on every session's broadcast."""

from __future__ import annotations

import asyncio

from chatmesh.broker import Connection, Listener, Msg, Vault
from chatmesh.errors import ProtocolError
from chatmesh.hub.hub import Hub
from chatmesh.protocol import headers, sealing, subjects
from chatmesh.protocol.messages import ChunkBatch
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger, metrics
from chatmesh.telemetry.traffic import observe_lag

log = get_logger("hub")

CAPACITY = 32_768
"""Batches that may wait: 4,000 sessions at 50 ms batches fill it in 0.4 s of a blocked loop. What does not fit is read
from the transcript."""


OFFSET_WITHIN = 512
"""A record has its offset behind two ids of at most 128 characters; a single chunk has none."""


class _BatchInbox(Listener):
    """A batch that can't be decoded is dropped, counted and logged; the next one is served."""

    _pattern: str

    def __init__(self, connection: Connection, hub: Hub, vault: Vault) -> None:
        super().__init__(connection, capacity=CAPACITY)
        self._hub = hub
        self._vault = vault
        self._lag = metrics.delivery_lag.labels(self._pattern)

    def on_loss(self) -> None:
        self._hub.mend_all()

    async def on_message(self, message: Msg) -> None:
        try:
            if self._take(message):
                # Nothing here waits, so no socket would take a byte while more comes: a reader is slow who had its chance.
                await asyncio.sleep(0)
        except ProtocolError as error:
            metrics.dropped.labels("undecodable").inc()
            log.warning("hub.dropped", subject=message.subject, error=str(error))

    def _take(self, message: Msg) -> bool:
        """Whether something is kept for a reader that no transcript holds."""
        head = message.headers or {}
        if headers.STREAM in head:
            # A stored message that somebody had the server deliver here: never by one of ours.
            raise ProtocolError("a message out of a stream was sent to a live subject")
        if headers.WIRE in head:
            if (sent_at := headers.sent_at(head)) is not None:
                observe_lag(self._lag, sent_at)
            self._take_own(message)
            return False
        self._vault.check_clear()
        batch = ChunkBatch.decode(message.data)
        self._check_session(message, batch.session_id)
        is_kept = False
        for chunk in batch.chunks:
            is_kept = self._hub.on_foreign(chunk) or is_kept
        return is_kept

    def _take_own(self, message: Msg) -> None:
        traceparent = (message.headers or {}).get(headers.TRACEPARENT, "")
        if sealing.is_sealed(message.data):
            self._take_sealed(message, traceparent)
            return
        record = Record.decode(message.data)
        self._check_session(message, record.session_id)
        self._vault.check_clear_record(record)
        self._hub.on_record(record, traceparent)

    def _take_sealed(self, message: Msg, traceparent: str) -> None:
        sealed = sealing.parse(message.data)
        self._check_session(message, sealed.session_id)
        if self._hub.channel(sealed.session_id) is None:
            return
        record = self._vault.live(sealed)
        if record is None:
            # Its key would have to be waited for, and everybody's batches behind it: the mender reads it from the transcript.
            self._hub.look(sealed.session_id)
        else:
            self._hub.on_record(record, traceparent)

    def _check_session(self, message: Msg, session_id: Token) -> None:
        """Raises ProtocolError where the subject is another session's."""


class ResponseInbox(_BatchInbox):
    """`chat.pod.{pod_id}.response`."""

    _pattern = subjects.RESPONSE_ALL

    def __init__(self, connection: Connection, hub: Hub, vault: Vault, pod_id: Token) -> None:
        super().__init__(connection, hub, vault)
        self._pod_id = pod_id

    def subject(self) -> str:
        return subjects.response(self._pod_id)


class BroadcastInbox(_BatchInbox):
    """`chat.session.*.broadcast`: most of what comes is for other pods, so the subject is looked at before the body."""

    _pattern = subjects.BROADCAST_ALL

    def subject(self) -> str:
        return subjects.BROADCAST_ALL

    def _take(self, message: Msg) -> bool:
        if self._hub.channel(Token(subjects.third_token(message.subject))) is None:
            return False
        return super()._take(message)

    def _check_session(self, message: Msg, session_id: Token) -> None:
        if session_id != subjects.third_token(message.subject):
            raise ProtocolError("session_id is not the one of the subject", where=message.subject)

    def _take_own(self, message: Msg) -> None:
        if sealing.is_sealed(message.data) or b'"offset":' in message.data[:OFFSET_WITHIN]:
            super()._take_own(message)
        else:
            # A single chunk for somebody else's pods, of an answer that we get as records, or find in the transcript.
            self._hub.expect(Token(subjects.third_token(message.subject)))
