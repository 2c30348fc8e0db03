"""Which pods hold readers of a session, and the last heartbeat of everybody: two small streams, one message a subject.

An entry carries the pod's boot nonce and counts unless that boot is known to be dead, so that entries need no
refreshing and a restarted pod does not revive old ones. A registry that does not answer is no error for an answer: the
worker broadcasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import orjson

from chatmesh.broker.connection import Connection
from chatmesh.broker.direct_get import DirectGet, Page, Stored
from chatmesh.broker.publisher import Publisher
from chatmesh.broker.streams import PRESENCE, REGISTRY
from chatmesh.errors import ProtocolError
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.messages import HeartbeatMessage
from chatmesh.protocol.tokens import Token, is_token, token

RELEASED_TTL = "60s"
"""How long a released entry's marker lies about before it deletes itself: longer than any read may lag."""

PAGE_MESSAGES = 1000


@dataclass(frozen=True, slots=True)
class Holder:
    """A pod that holds readers of a session, in its life `boot`."""

    session_id: Token
    pod_id: Token
    boot: str
    is_released: bool = False

    @classmethod
    def decode(cls, subject: str, body: bytes) -> Holder | None:
        """From the registry's subject; None for what is no entry (a deletion marker, somebody else's message)."""
        parts = subject.split(".")
        if len(parts) != 4 or not (is_token(parts[2]) and is_token(parts[3])):
            return None
        session_id, pod_id = token(parts[2], "session_id"), token(parts[3], "pod_id")
        try:
            entry = orjson.loads(body)
            boot = entry["boot"]
            if not isinstance(boot, str):
                return None
            return cls(session_id, pod_id, boot, entry.get("released") is True)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return None


class Registry:
    """Reads and writes who holds which session."""

    def __init__(self, direct_get: DirectGet, publisher: Publisher) -> None:
        self._direct_get = direct_get
        self._publisher = publisher

    async def hold(self, session_id: Token, pod_id: Token, boot: str, *, seconds: float) -> None:
        """This pod has readers of the session. Returns once that is stored."""
        await self._put(session_id, pod_id, {"boot": boot}, {}, seconds)

    async def release(self, session_id: Token, pod_id: Token, boot: str, *, seconds: float) -> None:
        """It has none any more."""
        await self._put(
            session_id, pod_id, {"boot": boot, "released": True}, {headers.TTL: RELEASED_TTL}, seconds
        )

    async def holders(self, session_id: Token, *, seconds: float) -> list[Holder]:
        """The pods that said so last. Raises BrokerError where the registry does not answer."""
        return await self.holders_of([session_id], seconds=seconds)

    async def holders_of(self, sessions: Sequence[Token], *, seconds: float) -> list[Holder]:
        """The same of several sessions by one request; raises BrokerError too where that would be more than 1,024 entries."""
        if not sessions:
            return []
        patterns = [subjects.registry_of(session_id) for session_id in sessions]
        stored = await self._direct_get.each_last(REGISTRY, *patterns, seconds=seconds)
        entries = [
            Holder.decode(message.subject, message.body) for message in stored if not _is_marker(message)
        ]
        return [entry for entry in entries if entry is not None and not entry.is_released]

    async def _put(
        self, session_id: Token, pod_id: Token, entry: dict[str, object], more: dict[str, str], seconds: float
    ) -> None:
        await self._publisher.publish(
            subjects.registry(session_id, pod_id),
            orjson.dumps(entry),
            message_headers=headers.own() | more,
            deadline_seconds=seconds,
        )


class Heartbeats:
    """Writes one's own heartbeat, reads everybody's last one."""

    def __init__(self, connection: Connection, direct_get: DirectGet) -> None:
        self._connection = connection
        self._direct_get = direct_get

    async def beat(self, heartbeat: HeartbeatMessage) -> None:
        """One sign of life. Not acknowledged: the next one follows soon."""
        subject = (
            subjects.pod_heartbeat(heartbeat.id)
            if heartbeat.role == "pod"
            else subjects.worker_heartbeat(heartbeat.id)
        )
        self._connection.publish(subject, heartbeat.encode(), headers=headers.own())

    async def last(self, *, seconds: float) -> list[tuple[HeartbeatMessage, float]]:
        """Every pod's and worker's last heartbeat and the Unix time at which the broker stored it; of one that beats
        meanwhile perhaps two. `seconds`: for each thousand."""
        found: list[tuple[HeartbeatMessage, float]] = []
        for pattern in (subjects.POD_HEARTBEATS, subjects.WORKER_HEARTBEATS):
            # Page by page and not the last of each subject: more than 1,024 subjects no request may ask for.
            page, seq = Page([], pending=1), 1
            while page.more:
                page = await self._direct_get.page(
                    PRESENCE, pattern, seq=seq, limit=PAGE_MESSAGES, seconds=seconds
                )
                found += _heartbeats(page.messages)
                seq = max((message.seq for message in page.messages), default=seq) + 1
        return found


def _heartbeats(stored: Sequence[Stored]) -> list[tuple[HeartbeatMessage, float]]:
    found = []
    for message in stored:
        with suppress(ProtocolError):  # who hears them live logs and counts them
            found.append((HeartbeatMessage.decode(message.body), message.unix_seconds))
    return found


def _is_marker(stored: Stored) -> bool:
    return headers.MARKER_REASON in stored.headers or not stored.body
