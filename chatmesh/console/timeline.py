"""When what happened to the latest messages: accepted, claimed (and claimed again), first and last piece, the end. Pure.

In: requests, claims and records with the times at which the broker stored them. Out: a row for each message, the latest
first, without what it says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from chatmesh.protocol.records import Claim
from chatmesh.protocol.tokens import Token

MOST = 32
"""Messages that are remembered."""

Key = tuple[Token, Token]
"""Session and message."""


@dataclass(slots=True)
class Attempt:
    """One worker's try. `ended_at` is None while it may go on; `is_handed_over`: its worker left in good order."""

    number: int
    worker_id: str
    began_at: float
    ended_at: float | None = None
    is_handed_over: bool = False


@dataclass(slots=True)
class Told:
    """A message. Times are Unix seconds by the broker's clock; `accepted_at` is by the pod's where the request has left the
    queue already, and never later than what came after it. `seq` is that of its first claim, 0 while it has none."""

    session_id: Token
    message_id: Token
    seq: int = 0
    accepted_at: float | None = None
    first_at: float | None = None
    last_at: float | None = None
    ended_at: float | None = None
    outcome: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    pods: Sequence[str] = ()
    """With readers of its session, until it ended."""
    is_settled: bool = False
    """Nothing of it changes any more."""

    @property
    def key(self) -> Key:
        return self.session_id, self.message_id

    @property
    def begins_at(self) -> float:
        """The first that is known of it."""
        known = [self.accepted_at, *(each.began_at for each in self.attempts[:1]), self.first_at]
        return min((at for at in known if at is not None), default=0.0)


class Timeline:
    """The latest messages, at most `limit`."""

    def __init__(self, limit: int = MOST) -> None:
        self._limit = limit
        self._told: dict[Key, Told] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._told

    def queued(self, session_id: Token, message_id: Token, at: float) -> None:
        """It stands in the queue since then."""
        told = self._get(session_id, message_id)
        told.accepted_at = at

    def claimed(self, claim: Claim, seq: int, at: float) -> None:
        """A claim was stored: a worker begins, goes on for another one, or leaves in good order."""
        if claim.erases:
            self.forget(claim.session_id)
            return
        told = self._get(claim.session_id, claim.message_id)
        last = told.attempts[-1] if told.attempts else None
        told.seq = told.seq or claim.first or seq
        if last is not None and last.ended_at is None:
            last.ended_at = at
        if not claim.handed_over:
            told.attempts.append(Attempt(claim.attempt, claim.worker_id, at))
        elif last is not None:
            last.is_handed_over = True

    def begun(self, key: Key, accepted_at: float | None, at: float) -> None:
        """Its first record is stored: the first piece does not wait for others."""
        if (told := self._told.get(key)) is not None:
            told.first_at = at
            told.accepted_at = told.accepted_at or accepted_at

    def grown(self, key: Key, at: float, outcome: str | None = None) -> None:
        """Its last record so far; with `outcome` it is the final one."""
        if (told := self._told.get(key)) is None:
            return
        told.last_at = at
        if outcome is not None:
            told.ended_at, told.outcome = at, outcome
            if told.attempts and told.attempts[-1].ended_at is None:
                told.attempts[-1].ended_at = at

    def left_queue(self, still: Collection[Key]) -> None:
        """Of those that no worker has ever had only what is `still` queued goes on waiting. What was stopped there has ended;
        of what became a dead letter nothing more will be heard."""
        for told in list(self._told.values()):
            if not told.attempts and told.ended_at is None and told.key not in still:
                del self._told[told.key]

    def forget(self, session_id: Token, message_id: Token | None = None) -> None:
        """It was erased."""
        for key in list(self._told):
            if key[0] == session_id and message_id in (None, key[1]):
                del self._told[key]

    @property
    def unbegun(self) -> list[Told]:
        """A worker has them, and no record was seen."""
        return [told for told in self._told.values() if told.attempts and told.first_at is None]

    @property
    def unfinished(self) -> list[Told]:
        return [told for told in self._told.values() if told.ended_at is None]

    @property
    def unsettled(self) -> list[Token]:
        """Sessions of which it is to be asked who reads them."""
        return list(dict.fromkeys(told.session_id for told in self._told.values() if not told.is_settled))

    def read_by(self, readers: Mapping[Token, Sequence[str]]) -> None:
        """The pods with readers of each session, now. Of what has ended it counts who was there then."""
        for told in self._told.values():
            if not told.is_settled:
                told.pods = readers.get(told.session_id, ())
                told.is_settled = told.ended_at is not None

    def latest_first(self) -> Iterator[Told]:
        yield from sorted(self._told.values(), key=lambda told: told.begins_at, reverse=True)

    def _get(self, session_id: Token, message_id: Token) -> Told:
        told = self._told.get((session_id, message_id))
        if told is None:
            told = self._told[session_id, message_id] = Told(session_id, message_id)
            self._make_room(told)
        return told

    def _make_room(self, newest: Told) -> None:
        """Who has ended goes first, the oldest of them before all."""
        others = [told for told in self._told.values() if told is not newest]
        others.sort(key=lambda told: (told.ended_at is None, told.begins_at))
        for told in others[: max(0, len(self._told) - self._limit)]:
            del self._told[told.key]


def row(told: Told) -> dict[str, object]:
    """A message as JSON: times in milliseconds since the Unix epoch; of a pod's clock that is ahead nothing is later than what
    followed from it."""
    followed = [each.began_at for each in told.attempts[:1]] + [told.first_at or told.begins_at]
    accepted = None if told.accepted_at is None else min(told.accepted_at, *followed)
    return {
        "session_id": told.session_id,
        "message_id": told.message_id,
        "accepted_at": _ms(accepted),
        "first_at": _ms(told.first_at),
        "last_at": _ms(told.last_at),
        "ended_at": _ms(told.ended_at),
        "outcome": told.outcome,
        "attempts": [
            {
                "attempt": each.number,
                "worker_id": each.worker_id,
                "began_at": _ms(each.began_at),
                "ended_at": _ms(each.ended_at),
                "handed_over": each.is_handed_over,
            }
            for each in told.attempts
        ],
        "pods": list(told.pods),
    }


def _ms(at: float | None) -> int | None:
    return None if at is None else round(at * 1000)
