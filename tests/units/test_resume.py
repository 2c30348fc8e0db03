"""Whether a reader's position can be gone on from."""

from __future__ import annotations

import pytest

from chatmesh.hub.resume import Verdict, is_end, judge
from chatmesh.protocol.positions import START, Position
from chatmesh.protocol.records import Record
from tests.units.made import chunk, held, record

FIRST = record(1, chunk(0), chunk(1))
FIFTH = record(5, chunk(7), chunk(8))
SIXTH = record(6, chunk(9))
NINTH = record(9, chunk(12))
ASKED = record(8, chunk(0), request={"message": "hi"})
RESET = record(5, chunk(7), reset="worker_changed")
ENDED = record(3, chunk(5, final="stop"))


@pytest.mark.parametrize(
    ("position", "first", "expected"),
    [
        pytest.param(START, None, Verdict.EXACT, id="the start of a session that has not begun"),
        pytest.param(START, FIRST, Verdict.EXACT, id="the start, and all is there"),
        pytest.param(START, SIXTH, Verdict.GONE, id="the start, but the oldest have expired"),
        pytest.param(Position(5, 0, 50), FIFTH, Verdict.EXACT, id="before a record"),
        pytest.param(Position(5, 1, 50), FIFTH, Verdict.EXACT, id="inside a record"),
        pytest.param(Position(5, 2, 50), FIFTH, Verdict.EXACT, id="behind a whole record"),
        pytest.param(Position(5, 3, 50), FIFTH, Verdict.UNKNOWN, id="past a record's events: nobody gave it"),
        pytest.param(Position(5, 2, 50), RESET, Verdict.EXACT, id="a reset counts as an event"),
        pytest.param(Position(5, 3, 50), RESET, Verdict.UNKNOWN, id="past a reset and its chunk"),
        pytest.param(Position(5, 0), SIXTH, Verdict.EXACT, id="between two records"),
        pytest.param(Position(5, 1), SIXTH, Verdict.GONE, id="inside a record that has expired"),
        pytest.param(Position(5, 2), NINTH, Verdict.GONE, id="what comes next has expired"),
        pytest.param(Position(5, 2), None, Verdict.UNSEEN, id="nothing lies behind it"),
        pytest.param(Position(6, 1), FIFTH, Verdict.UNKNOWN, id="an older record lies where it should"),
        pytest.param(Position(5, 1, 20), FIFTH, Verdict.UNKNOWN, id="another record has its number"),
    ],
)
def test_a_position_in_a_session(position: Position, first: Record | None, expected: Verdict) -> None:
    assert judge(position, first, is_filtered=False) is expected


@pytest.mark.parametrize(
    ("position", "first", "expected"),
    [
        pytest.param(START, None, Verdict.EXACT, id="the start of a message that has not begun"),
        pytest.param(START, ASKED, Verdict.EXACT, id="the start, other messages before"),
        pytest.param(START, NINTH, Verdict.GONE, id="the start, but the message's oldest have expired"),
        pytest.param(Position(5, 1, 50), FIFTH, Verdict.EXACT, id="inside a record"),
        pytest.param(Position(5, 3, 50), FIFTH, Verdict.UNKNOWN, id="past a record's events"),
        pytest.param(Position(5, 2), ASKED, Verdict.EXACT, id="the message begins behind it"),
        pytest.param(Position(5, 1), NINTH, Verdict.GONE, id="inside a record that has expired"),
        pytest.param(Position(5, 2), None, Verdict.UNSEEN, id="nothing of the message behind it"),
        pytest.param(
            Position(5, 2), ENDED, Verdict.UNKNOWN, id="a record that ends the message lies before it"
        ),
        pytest.param(Position(5, 1, 20), FIFTH, Verdict.UNKNOWN, id="another record has its number"),
        pytest.param(Position(6, 1), FIFTH, Verdict.UNKNOWN, id="an unfinished record lies before it"),
    ],
)
def test_a_position_among_one_messages_events(
    position: Position, first: Record | None, expected: Verdict
) -> None:
    assert judge(position, first, is_filtered=True) is expected


CLAIMED = held(token=60, base=4, offset=4)


@pytest.mark.parametrize(
    ("position", "last", "expected"),
    [
        pytest.param(Position(5, 2, 50), FIFTH, True, id="the last record"),
        pytest.param(Position(4, 1, 40), None, True, id="behind the message before, this one is silent"),
        pytest.param(Position(6, 1, 60), FIFTH, False, id="an offset that nobody wrote"),
        pytest.param(Position(5, 2, 70), FIFTH, False, id="a sequence that nobody wrote"),
        pytest.param(Position(3, 1, 30), FIFTH, False, id="an older record, though nothing lies behind it"),
    ],
)
def test_a_position_behind_everything_must_be_one_that_was_given(
    position: Position, last: Record | None, expected: bool
) -> None:
    assert is_end(position, CLAIMED, last, is_filtered=False) is expected


def test_a_position_before_the_claimed_message_may_be_the_end_of_another_one() -> None:
    assert is_end(Position(3, 1, 30), CLAIMED, FIFTH, is_filtered=True)
