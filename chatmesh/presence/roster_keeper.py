"""Feeds the roster: the stored heartbeats first, then every one that is sent."""

from __future__ import annotations

import time

from chatmesh.broker import Connection, Heartbeats, Listener, Msg
from chatmesh.errors import BrokerError, ProtocolError
from chatmesh.presence.roster import Roster
from chatmesh.protocol.messages import HeartbeatMessage
from chatmesh.telemetry import get_logger, metrics

log = get_logger("presence")

CAPACITY = 4096
"""Heartbeats of a thousand members come in bursts of a thousand."""

READ_SECONDS = 2.0

FORGET_EVERY = 1000
"""Heartbeats between two looks for members that are silent for very long."""


class RosterKeeper(Listener):
    """Listens to one role's heartbeats; pods listen to workers (who serves which model), workers to pods (who is dead)."""

    def __init__(self, connection: Connection, heartbeats: Heartbeats, roster: Roster, subject: str) -> None:
        super().__init__(connection, capacity=CAPACITY)
        self._heartbeats = heartbeats
        self._roster = roster
        self._subject = subject
        self._heard = 0

    def subject(self) -> str:
        return self._subject

    async def on_message(self, message: Msg) -> None:
        try:
            now = time.monotonic()
            heartbeat = HeartbeatMessage.decode(message.data)
            if message.subject != f"chat.{heartbeat.role}.{heartbeat.id}.heartbeat":
                raise ProtocolError("the id is not the one of the subject", where=message.subject)
            self._roster.hear(heartbeat, now)
            self._heard += 1
            if self._heard % FORGET_EVERY == 0:
                self._roster.forget_silent(now)
        except ProtocolError as error:
            metrics.errors.labels("presence", "undecodable").inc()
            log.warning("presence.undecodable", subject=message.subject, error=str(error))

    async def on_subscribed(self) -> None:
        """Who lived before we came. Read behind the subscription: two that start at once would miss each other for an
        interval. One that the broker can't tell now is heard within one."""
        try:
            stored = await self._heartbeats.last(seconds=READ_SECONDS)
        except BrokerError as error:
            log.warning("presence.heartbeats_unread", error=str(error))
            return
        for heartbeat, unix_seconds in stored:
            self._roster.hear(heartbeat, time.monotonic() - max(0.0, time.time() - unix_seconds))
