"""Pods and workers, by the last heartbeat of each, and whether they live.

In: a broker. Out: a row for each. Who was silent for three heartbeats is taken for dead, as pods and workers do it among
themselves; ages are by the broker's clock alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from chatmesh.broker import Broker, Stored
from chatmesh.broker.streams import PRESENCE
from chatmesh.errors import ProtocolError
from chatmesh.operate.checks import MISSED_BEATS
from chatmesh.operate.pages import broker_time, walk
from chatmesh.operate.streams import require
from chatmesh.protocol import subjects
from chatmesh.protocol.messages import HeartbeatMessage
from chatmesh.protocol.tokens import Token

MAX_OF_A_ROLE = 2048
"""Heartbeats read. CHAT_PRESENCE keeps one of each id, for an hour."""


class State(StrEnum):
    """ALIVE: it was heard lately. SILENT: it should have been, and is taken for dead. GONE: it said goodbye."""

    ALIVE = "alive"
    SILENT = "silent"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Member:
    """A pod or worker. `heard_at` is when the broker stored its last heartbeat (RFC 3339), `age_seconds` how long ago."""

    heartbeat: HeartbeatMessage
    state: State
    heard_at: str
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Members:
    """In the order of role and id. `unreadable` heartbeats are of nobody; `more`: there are more than were read."""

    members: tuple[Member, ...] = ()
    unreadable: int = 0
    more: bool = False

    def find(self, role: str, id: str) -> Member | None:
        return next(
            (each for each in self.members if (each.heartbeat.role, each.heartbeat.id) == (role, id)), None
        )

    def has_died(self, role: str, id: str, boot: str) -> bool:
        """Whether that life of that member is known to be over. Of whom nothing was heard, nothing is known."""
        member = self.find(role, id)
        if member is None:
            return False
        is_another = bool(member.heartbeat.boot) and member.heartbeat.boot != boot
        return is_another or member.state is not State.ALIVE


async def read_members(broker: Broker, *, interval_seconds: float) -> Members:
    """`interval_seconds`: between two heartbeats, as configured. Raises BrokerError."""
    now = broker_time(await require(broker, PRESENCE))
    found: dict[tuple[str, Token], Member] = {}
    unreadable, more = 0, False
    for pattern in (subjects.POD_HEARTBEATS, subjects.WORKER_HEARTBEATS):
        count = 0
        async for stored in walk(broker, PRESENCE, pattern, limit=MAX_OF_A_ROLE):
            count += 1
            member = _member(stored, now, MISSED_BEATS * interval_seconds)
            if member is None:
                unreadable += 1
            else:
                # One that beats meanwhile comes twice; the later one counts.
                found[member.heartbeat.role, member.heartbeat.id] = member
        more = more or count == MAX_OF_A_ROLE
    return Members(_sorted(found.values()), unreadable, more)


def _member(stored: Stored, now: float, silence_seconds: float) -> Member | None:
    """None for what is no heartbeat, or is somebody else's than its subject says."""
    try:
        heartbeat = HeartbeatMessage.decode(stored.body)
    except ProtocolError:
        return None
    if stored.subject != f"chat.{heartbeat.role}.{heartbeat.id}.heartbeat":
        return None
    age = max(0.0, now - stored.unix_seconds)
    if heartbeat.status == "stopped":
        state = State.GONE
    else:
        state = State.SILENT if age > silence_seconds else State.ALIVE
    return Member(heartbeat, state, stored.time, age)


def _sorted(members: Iterable[Member]) -> tuple[Member, ...]:
    return tuple(sorted(members, key=lambda member: (member.heartbeat.role, member.heartbeat.id)))
