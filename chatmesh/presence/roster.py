"""Who lives, as far as heartbeats tell: pure but for what it remembers. Takes the time as an argument."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from itertools import chain, islice

from chatmesh.protocol.messages import HeartbeatMessage
from chatmesh.protocol.tokens import Token

MISSED_BEATS = 3
"""So many intervals without a heartbeat make a silent member a dead one."""


MODELS_SECONDS = 0.5
"""How long the answer to which models are served stays: each message asks, and a thousand workers take 0.3 ms to go
through."""


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
        self._ring: list[Token] = []
        """The workers among them, by name: a neighbour is asked for four times a second."""
        self._models: set[str] | None = None
        self._models_until = float("-inf")

    def hear(self, heartbeat: HeartbeatMessage, now: float) -> None:
        """A heartbeat that came at `now`; an older one than what is known is ignored."""
        key = (heartbeat.role, heartbeat.id)
        known = self._members.get(key)
        if known is None or known.heard <= now:
            self._members[key] = Member(heartbeat, now)
            if known is None and heartbeat.role == "worker":
                insort(self._ring, heartbeat.id)
            if (
                known is None
                or known.heartbeat.models != heartbeat.models
                or known.heartbeat.status != heartbeat.status
            ):
                self._models_until = float("-inf")

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
            self._forget((role, id))
            self._models_until = float("-inf")

    def next_worker(self, id: Token, now: float) -> HeartbeatMessage | None:
        """The living worker behind `id` in the ring of their names; None where there is no other."""
        place = bisect_right(self._ring, id)
        for other in chain(islice(self._ring, place, None), islice(self._ring, place)):
            member = self._members[("worker", other)]
            if other != id and self._is_living(member, now):
                return member.heartbeat
        return None

    def living(self, role: str, now: float) -> list[HeartbeatMessage]:
        """Everybody of that role who is alive."""
        return [
            member.heartbeat
            for (of_role, _), member in self._members.items()
            if of_role == role and self._is_living(member, now)
        ]

    def _is_living(self, member: Member, now: float) -> bool:
        return member.heartbeat.status != "stopped" and now - member.heard <= self._silence_seconds

    def models(self, now: float) -> set[str] | None:
        """The models that living workers serve; None where no worker lives, as far as known."""
        if now >= self._models_until:
            workers = self.living("worker", now)
            self._models = {name for worker in workers for name in worker.models} if workers else None
            self._models_until = now + MODELS_SECONDS
        return self._models

    def forget_silent(self, now: float) -> None:
        """Drops who has been silent for very long, so that ids that never come back take no memory."""
        limit = 100 * self._silence_seconds
        for key in [key for key, member in self._members.items() if now - member.heard > limit]:
            self._forget(key)

    def _forget(self, key: tuple[str, Token]) -> None:
        del self._members[key]
        role, id = key
        if role == "worker":
            del self._ring[bisect_left(self._ring, id)]
