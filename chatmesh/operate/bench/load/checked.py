"""Was it all, once, in order: what was told beside what `count` says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from chatmesh.operate.bench.load.events import Told


@dataclass(slots=True)
class Tally:
    """Chunks over all readers. All but `expected` and `received` have to be 0; what is not makes a run void.

    `wrong`: of another message or with another text. `unfinished`: readers that saw no final chunk. `refused`: requests
    and streams that got another status than they should have.
    """

    expected: int = 0
    received: int = 0
    missing: int = 0
    repeated: int = 0
    disordered: int = 0
    wrong: int = 0
    taken_back: int = 0
    unfinished: int = 0
    refused: int = 0

    def add(self, other: Tally) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    @property
    def faults(self) -> dict[str, int]:
        """What is not as it should be, by name."""
        counts = asdict(self)
        return {
            name: counts[name] for name in counts if name not in ("expected", "received") and counts[name]
        }


def check(events: Sequence[Told], session_id: str, tokens: int, *, first: int = 0) -> Tally:
    """One reader's events beside the answer of `count` with `tokens` chunks, from chunk `first` on."""
    tally = Tally(expected=tokens - first)
    seen: set[int] = set()
    highest = -1
    is_finished = False
    for event in events:
        if event.name != "message":
            tally.taken_back += event.name == "reset"
            continue
        number = event.body.get("chunk_id")
        tally.received += 1
        if not isinstance(number, int) or not _is_right(event.body, session_id, number, tokens):
            tally.wrong += 1
            continue
        if number in seen:
            tally.repeated += 1
        elif number < highest:
            tally.disordered += 1
        seen.add(number)
        highest = max(highest, number)
        is_finished = is_finished or event.body.get("is_final") is True
    tally.missing = len(set(range(first, tokens)) - seen)
    tally.wrong += len(seen - set(range(first, tokens)))
    tally.unfinished = int(not is_finished)
    return tally


def check_stopped(events: Sequence[Told], session_id: str) -> Tally:
    """One reader's events of an answer that was stopped after its first token: that token, and a final one that says so."""
    bodies = [event.body for event in events if event.name == "message"]
    tally = Tally(expected=2, received=len(bodies))
    tally.missing = max(0, 2 - len(bodies))
    tally.wrong = max(0, len(bodies) - 2)
    if len(bodies) == 2:
        first, last = bodies
        tally.wrong += first.get("chunk") != "1 " or first.get("session_id") != session_id
        tally.wrong += last.get("metadata", {}).get("finish_reason") != "cancelled"
    tally.unfinished = int(not bodies or bodies[-1].get("is_final") is not True)
    return tally


def _is_right(body: dict[str, object], session_id: str, number: int, tokens: int) -> bool:
    is_final = number == tokens - 1
    text = "" if is_final else f"{number + 1} "
    return (
        body.get("session_id") == session_id
        and body.get("chunk") == text
        and (body.get("is_final") is True) == is_final
    )
