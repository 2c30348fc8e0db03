"""Whether a position can be gone on from, judged by the first record that lies at or behind it: pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from chatmesh.broker import HeldClaim
from chatmesh.protocol.positions import Position
from chatmesh.protocol.records import Erasure, Record


class Verdict(Enum):
    """EXACT: go on. GONE: what comes next has expired, go on with what is there. UNKNOWN: nobody gave this position;
    begin anew. UNSEEN: nothing lies behind it, so ask how far the session got."""

    EXACT = "exact"
    GONE = "gone"
    UNKNOWN = "unknown"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Start:
    """Where a stream begins: the position that its reader has, and the sequence to read from. `is_claimed`: the
    position came from the client, and has to be judged. `reset`: it is known already that it can't be used. `erasure`:
    what was erased of the session by then. `since`: a place in the work queue; an erasure that stands in front of it does not
    concern the reader. `is_of_before`: its position is of before the last erasure. `claim`: the session's last one, whose answer may go on.
    `resets`: how often the answer was begun anew before."""

    position: Position
    read_seq: int
    is_claimed: bool = False
    reset: str | None = None
    erasure: Erasure | None = None
    since: int = 0
    is_of_before: bool = False
    claim: HeldClaim | None = None
    resets: int = 0

    @property
    def floor(self) -> int:
        """Records under claims up to this sequence were erased."""
        return self.erasure.seq if self.erasure is not None else 0


def judge(position: Position, first: Record | None, *, is_filtered: bool) -> Verdict:
    """`first` is the first record from the position's sequence on; `is_filtered`: of one message only, so that other
    messages' records are missing lawfully."""
    if first is None:
        return Verdict.EXACT if position.offset == 0 else Verdict.UNSEEN
    if first.offset == position.offset:
        # Offsets count from 1 again where a whole session has expired, so the number alone may be another record's.
        is_same = first.seq == position.seq and position.index <= first.events
        return Verdict.EXACT if is_same else Verdict.UNKNOWN
    if first.offset < position.offset:
        return Verdict.UNKNOWN
    # The position's own record is not there. Only a position before a record's first event can do without it: whoever
    # was cut within a record that has expired since would miss the rest of it.
    if first.offset == position.offset + 1 and position.index == 0:
        return Verdict.EXACT
    return Verdict.EXACT if is_filtered and first.request is not None else Verdict.GONE


def is_end(position: Position, held: HeldClaim, last: Record | None, *, is_filtered: bool) -> bool:
    """Whether a position behind which nothing lies is one that was given: at the end of what is told, so that nothing
    is skipped. `last` is the last record of the claimed message."""
    offset, seq = held.claim.offset, held.token
    if last is not None:
        offset, seq = max(offset, last.offset), max(seq, last.seq)
    begin = 0 if is_filtered else held.claim.base
    return begin <= position.offset <= max(offset, held.claim.base) and position.seq <= seq
