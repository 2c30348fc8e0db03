"""Who lives, as far as heartbeats tell: pure but for what it remembers. Takes the time as an argument."""

from __future__ import annotations

from dataclasses import dataclass

from chatmesh.protocol.messages import HeartbeatMessage
from chatmesh.protocol.tokens import Token

MISSED_BEATS = 3
"""So many intervals without a heartbeat make a silent member a dead one."""


@dataclass(frozen=True, slots=True)
class Member:
    """A pod or worker: its last heartbeat, and when that was heard (the caller's monotonic seconds)."""

    heartbeat: HeartbeatMessage
    heard: float


class Roster:
    """The last heartbeat of everybody. One writer: the roster keeper."""

    def __init__(self, interval_seconds: float) -> None:
        self._silence_seconds = MISSED_BEATS * interval_seconds
        self._members: dict[tuple[str, Token], Member] = {}

    def hear(self, heartbeat: HeartbeatMessage, now: float) -> None:
        """A heartbeat that came at `now`; an older one than what is known is ignored."""
        key = (heartbeat.role, heartbeat.id)
        known = self._members.get(key)
        if known is None or known.heard <= now:
            self._members[key] = Member(heartbeat, now)

    def is_dead(self, pod_id: Token, boot: str, now: float) -> bool:
        """Whether that life of that pod is known to be over: it said goodbye, it was silent for too long, or the pod
        beats with another boot. One that was never heard of counts as alive: a batch too many costs little."""
        member = self._members.get(("pod", pod_id))
        if member is None:
            return False
        if member.heartbeat.boot and member.heartbeat.boot != boot:
            return True
        return member.heartbeat.status == "stopped" or now - member.heard > self._silence_seconds

    def lose(self, role: str, id: Token, boot: str) -> None:
        """That life of that member is over, as somebody has seen."""
        member = self._members.get((role, id))
        if member is not None and member.heartbeat.boot == boot:
            del self._members[(role, id)]

    def next_worker(self, id: Token, now: float) -> HeartbeatMessage | None:
        """The living worker behind `id` in the ring of their names; None where there is no other."""
        others = sorted(
            (heartbeat for heartbeat in self.living("worker", now) if heartbeat.id != id),
            key=lambda heartbeat: heartbeat.id,
        )
        behind = (heartbeat for heartbeat in others if heartbeat.id > id)
        return next(behind, others[0] if others else None)

    def living(self, role: str, now: float) -> list[HeartbeatMessage]:
        """Everybody of that role who is alive."""
        return [
            member.heartbeat
            for (of_role, _), member in self._members.items()
            if of_role == role
            and member.heartbeat.status != "stopped"
            and now - member.heard <= self._silence_seconds
        ]

    def models(self, now: float) -> set[str] | None:
        """The models that living workers serve; None where no worker lives, as far as known."""
        workers = self.living("worker", now)
        return {name for worker in workers for name in worker.models} if workers else None

    def forget_silent(self, now: float) -> None:
        """Drops who has been silent for very long, so that ids that never come back take no memory."""
        limit = 100 * self._silence_seconds
        for key in [key for key, member in self._members.items() if now - member.heard > limit]:
            del self._members[key]
