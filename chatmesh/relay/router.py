"""Sends stored batches to the pods that hold the session, or to all where none is known.

One pod's failure does not keep the others from theirs, and nothing here is waited for: what a pod misses it reads from
the transcript.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from chatmesh.broker import Connection, Holder, Listener, Msg, Registry
from chatmesh.errors import BrokerError, CapacityError
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.records import Record, RecordHead
from chatmesh.protocol.sealing import DataKey
from chatmesh.protocol.tokens import Token
from chatmesh.relay.routing import IsDead, Route
from chatmesh.telemetry import get_logger, metrics

log = get_logger("relay")

REGISTRY_SECONDS = 0.5
"""A registry that is slower than this is treated as away: readers wait behind it."""

_ROUTED = {way: metrics.routed.labels(way) for way in ("pod", "broadcast", "copy")}

CHANGES = 8192
"""Registry changes that may wait: one for each session that somebody begins or ends to read."""


class Router(Listener):
    """Knows where the sessions of running generations are read; hears changes as they happen."""

    def __init__(self, connection: Connection, registry: Registry, is_dead: IsDead) -> None:
        super().__init__(connection, capacity=CHANGES)
        self._registry = registry
        self._is_dead = is_dead
        self._routes: dict[Token, tuple[Route, int]] = {}

    def open(self, session_id: Token) -> None:
        """From now on changes of the session's pods are heard, until `close`."""
        route, users = self._routes.get(session_id) or (Route(), 0)
        self._routes[session_id] = (route, users + 1)

    async def learn(self, session_id: Token) -> None:
        """Reads the session's pods. Never raises for a registry that is away: then nobody is known."""
        try:
            holders = await self._registry.holders(session_id, seconds=REGISTRY_SECONDS)
        except BrokerError as error:
            metrics.errors.labels("relay", "registry").inc()
            log.warning("relay.registry_away", session_id=session_id, error=str(error))
            return
        if (entry := self._routes.get(session_id)) is not None:
            entry[0].learn(holders)

    def close(self, session_id: Token) -> None:
        route, users = self._routes[session_id]
        if users > 1:
            self._routes[session_id] = (route, users - 1)
        else:
            del self._routes[session_id]

    def send(self, head: RecordHead, chunks: Sequence[bytes], seq: int, *, is_foreign: bool = False) -> None:
        """A stored record to its readers' pods. `is_foreign`: the request came from somebody else's pod, which decodes
        every message as one chunk."""
        entry = self._routes.get(head.session_id)
        targets = entry[0].targets(self._is_dead) if entry is not None else []
        live = head.encode(chunks, seq=seq)
        message_headers = headers.own(head.traceparent)
        message_headers[headers.SENT] = str(int(time.time() * 1000))
        for pod_id in targets:
            self._send(subjects.response(pod_id), live, message_headers, "pod")
        if is_foreign:
            for chunk in chunks:
                self._send(subjects.broadcast(head.session_id), chunk, message_headers, "copy")
        elif not targets:
            self._send(subjects.broadcast(head.session_id), live, message_headers, "broadcast")

    def announce(
        self, record: Record, traceparent: str, key: DataKey | None, *, is_foreign: bool = False
    ) -> None:
        """Sends a record again that is stored already: whoever missed it has a chance to notice. The session is open."""
        head = RecordHead(
            record.session_id,
            record.message_id,
            record.offset,
            record.attempt,
            record.token,
            traceparent=traceparent,
            key=key,
        )
        self.send(head, record.chunks.lines, record.seq, is_foreign=is_foreign)

    def _send(self, subject: str, body: bytes, message_headers: dict[str, str], way: str) -> None:
        try:
            self._connection.publish(subject, body, headers=message_headers)
            _ROUTED[way].inc()
        except (BrokerError, CapacityError) as error:
            metrics.errors.labels("relay", "route").inc()
            log.warning("relay.not_routed", subject=subject, error=str(error))

    # --- the service: registry changes -----------------------------------------------------------------------------

    def subject(self) -> str:
        return subjects.REGISTRY_ALL

    async def on_message(self, message: Msg) -> None:
        if subjects.is_no_session(message.subject):
            return
        change = Holder.decode(message.subject, message.data)
        if change is None and message.data:
            metrics.errors.labels("relay", "undecodable").inc()
            log.warning("relay.undecodable", subject=message.subject)
        if change is not None and (entry := self._routes.get(change.session_id)):
            entry[0].hear(change)
