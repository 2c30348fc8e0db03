"""Whatever is not as `count` says is counted, under its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chatmesh.operate.bench.load.checked import Tally, check, check_stopped
from chatmesh.operate.bench.load.events import Told

TOKENS = 5


def chunk(number: int, tokens: int = TOKENS, **changes: Any) -> Told:
    is_final = number == tokens - 1
    body = {
        "session_id": "s",
        "chunk_id": number,
        "chunk": "" if is_final else f"{number + 1} ",
        "is_final": is_final,
        "metadata": {"finish_reason": "length"} if is_final else {},
    }
    return Told(1.0, "message", "", body | changes)


def answer() -> list[Told]:
    return [chunk(number) for number in range(TOKENS)]


def test_a_whole_answer_has_no_faults() -> None:
    tally = check(answer(), "s", TOKENS)
    assert (tally.expected, tally.received, tally.faults) == (TOKENS, TOKENS, {})


def test_a_rest_is_whole_from_its_first_chunk_on() -> None:
    assert check(answer()[2:], "s", TOKENS, first=2).faults == {}
    assert check(answer()[1:], "s", TOKENS, first=2).faults == {"wrong": 1}
    assert check(answer()[3:], "s", TOKENS, first=2).faults == {"missing": 1}


Change = Callable[[list[Told]], list[Told]]
FAULTS: list[tuple[str, Change, dict[str, int]]] = [
    ("one is missing", lambda events: events[:2] + events[3:], {"missing": 1}),
    ("one comes twice", lambda events: [*events[:3], events[2], *events[3:]], {"repeated": 1}),
    ("two are exchanged", lambda events: [events[1], events[0], *events[2:]], {"disordered": 1}),
    ("the end is missing", lambda events: events[:-1], {"missing": 1, "unfinished": 1}),
    ("nothing came", lambda _: [], {"missing": TOKENS, "unfinished": 1}),
    (
        "one has another text",
        lambda events: [chunk(0, chunk="one"), *events[1:]],
        {"missing": 1, "wrong": 1},
    ),
    (
        "one is of another session",
        lambda events: [*events[:4], chunk(4, session_id="t")],
        {"missing": 1, "wrong": 1, "unfinished": 1},
    ),
    ("one too many", lambda events: [*events, chunk(7, chunk="8 ")], {"wrong": 1}),
    ("one without a number", lambda events: [*events, chunk(0, chunk_id=None)], {"wrong": 1}),
    (
        "the final one comes early",
        lambda events: [*events[:2], chunk(2, is_final=True), *events[3:]],
        {"missing": 1, "wrong": 1},
    ),
    ("shown text is taken back", lambda events: [Told(1.0, "reset", "", {}), *events], {"taken_back": 1}),
]


@pytest.mark.parametrize(("name", "change", "faults"), FAULTS, ids=[name for name, _, _ in FAULTS])
def test_every_fault_is_found(name: str, change: Change, faults: dict[str, int]) -> None:
    assert check(change(answer()), "s", TOKENS).faults == faults


def test_tallies_add_up() -> None:
    tally = Tally()
    for each in (answer(), answer()[1:], answer()[:3]):
        tally.add(check(each, "s", TOKENS))
    assert (tally.expected, tally.received) == (15, 12)
    assert tally.faults == {"missing": 3, "unfinished": 1}


def test_a_stopped_answer_has_one_token_and_an_end_that_says_so() -> None:
    stopped = chunk(1, chunk="", is_final=True, metadata={"finish_reason": "cancelled"})
    assert check_stopped([chunk(0), stopped], "s").faults == {}
    assert check_stopped([chunk(0), chunk(1, tokens=2)], "s").faults == {"wrong": 1}
    assert check_stopped([chunk(0)], "s").faults == {"missing": 1, "unfinished": 1}
    assert check_stopped([chunk(0), chunk(1), stopped], "s").faults == {"wrong": 1}
