"""Whether a position can be gone on from, judged by the first record that lies at or behind it: pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from chatmesh.protocol.positions import Position
from chatmesh.protocol.records import Record


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
    position came from the client, and has to be judged. `reset`: it is known already that it can't be used. `floor`:
    records under claims up to this sequence were erased."""

    position: Position
    read_seq: int
    is_claimed: bool = False
    reset: str | None = None
    floor: int = 0


def judge(position: Position, first: Record | None, *, is_filtered: bool) -> Verdict:
    """`first` is the first record from the position's sequence on; `is_filtered`: of one message only, so that other
    messages' records are missing lawfully."""
    if first is None:
        return Verdict.EXACT if position.offset == 0 else Verdict.UNSEEN
    if first.offset == position.offset:
        return Verdict.EXACT if position.index <= first.events else Verdict.UNKNOWN
    if first.offset < position.offset:
        return Verdict.EXACT if is_filtered and first.final is not None else Verdict.UNKNOWN
    if first.offset == position.offset + 1 or is_filtered:
        return Verdict.EXACT
    return Verdict.GONE
