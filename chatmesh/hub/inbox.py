"""What comes from workers: batches on the pod's own subject, and on every session's broadcast."""

from __future__ import annotations

from chatmesh.broker import Connection, Listener, Msg
from chatmesh.errors import ProtocolError
from chatmesh.hub.hub import Hub
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger, metrics

log = get_logger("hub")

CAPACITY = 32_768
"""Batches that may wait: 4,000 sessions at 50 ms batches fill it in 0.4 s of a blocked loop. What does not fit is read
from the transcript."""


class _BatchInbox(Listener):
    """A batch that can't be decoded is dropped, counted and logged; the next one is served."""

    def __init__(self, connection: Connection, hub: Hub) -> None:
        super().__init__(connection, capacity=CAPACITY)
        self._hub = hub

    def on_loss(self) -> None:
        self._hub.mend_all()

    async def on_message(self, message: Msg) -> None:
        try:
            self._take(message)
        except ProtocolError as error:
            metrics.dropped.labels("undecodable").inc()
            log.warning("hub.dropped", subject=message.subject, error=str(error))

    def _take(self, message: Msg) -> None:
        raise NotImplementedError


class ResponseInbox(_BatchInbox):
    """`chat.pod.{pod_id}.response`."""

    def __init__(self, connection: Connection, hub: Hub, pod_id: Token) -> None:
        super().__init__(connection, hub)
        self._pod_id = pod_id

    def subject(self) -> str:
        return subjects.response(self._pod_id)

    def _take(self, message: Msg) -> None:
        self._hub.on_record(Record.decode(message.data))


class BroadcastInbox(_BatchInbox):
    """`chat.session.*.broadcast`: most of what comes is for other pods, so the subject is looked at before the body."""

    def subject(self) -> str:
        return subjects.BROADCAST_ALL

    def _take(self, message: Msg) -> None:
        session_id = Token(subjects.third_token(message.subject))
        if self._hub.channel(session_id) is None:
            return
        if message.headers is None or headers.WIRE not in message.headers:
            return
        if b'"offset":' in message.data[:512]:
            self._hub.on_record(Record.decode(message.data))
        else:
            # A single chunk for somebody else's pods, of an answer that we get as records, or find in the transcript.
            self._hub.expect(session_id)
