"""How long readers waited, and what was broken meanwhile: pure.

A silence is a reader's: from one chunk to the next, or from an acceptance to the first chunk, while an accepted message
is unanswered. It is put down to the fault that had begun last when it began. Where several things are broken at once
that is a guess, and what came on top while it lasted made it longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chatmesh.operate.chaos.plan import Fault

WORTH_NOTING_SECONDS = 0.5
"""Shorter ones are the model's pace and a busy machine."""

AFTERMATH_SECONDS = 2.0
"""After a fault is over: a process that was begun again takes about a second until it serves."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing came to the reader of a session, on the run's clock."""

    session_id: str
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True, slots=True)
class Hit:
    """A fault as it happened, on the same clock: until its target was begun again, or thawed."""

    fault: Fault
    target: str
    began: float
    ended: float


def slowest(silences: Iterable[Silence], count: int) -> list[Silence]:
    """The longest ones, the longest first."""
    return sorted(silences, key=lambda silence: silence.seconds, reverse=True)[:count]


def cause(silence: Silence, hits: Iterable[Hit]) -> Hit | None:
    """The fault that had begun last when the silence began, and was not long over. None: it was none of them."""
    begun = [
        hit
        for hit in hits
        if hit.began <= silence.began + WORTH_NOTING_SECONDS
        and silence.began <= hit.ended + AFTERMATH_SECONDS
    ]
    return max(begun, key=lambda hit: hit.began, default=None)


def slowest_by_fault(silences: Iterable[Silence], hits: Sequence[Hit]) -> dict[Fault, float]:
    """The longest silence in seconds for each kind of fault that happened; 0 where none was worth noting."""
    found = dict.fromkeys((hit.fault for hit in hits), 0.0)
    for silence in silences:
        hit = cause(silence, hits)
        if hit is not None:
            found[hit.fault] = max(found[hit.fault], silence.seconds)
    return found
