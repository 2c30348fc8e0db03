"""What a turn does, from what the broker holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.broker import HeldClaim
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token
from chatmesh.workflow.plan import Begin, Continue, Finish, Gone, Park, Plan, Recount, place, plan, told
from tests.units.made import chunk, held, record

M = Token("m")
OPEN = record(4, chunk(0))
ENDED = record(5, chunk(1, final="stop"))
OTHER_OPEN = record(8, chunk(0, message="other"), message="other")
OTHER_ENDED = record(9, chunk(1, message="other", final="cancelled"), message="other")
OWN_CLAIM = held("m", token=20)
OWN_FENCE = held("m", token=25, attempt=0)
OTHERS_CLAIM = held("other", token=30)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param(7, None, id="the oldest of its session may begin"),
        pytest.param(6, Park(), id="behind an older one it is parked"),
        pytest.param(8, Gone(), id="older than the oldest it is gone"),
        pytest.param(None, Gone(), id="with an empty queue it is gone"),
    ],
)
def test_only_the_oldest_of_a_session_may_begin(head: int | None, expected: Gone | Park | None) -> None:
    assert place(head, 7) == expected


@pytest.mark.parametrize(
    ("claim", "own", "previous", "expected"),
    [
        pytest.param(None, None, None, Begin(None, 0), id="a new session begins at nothing"),
        pytest.param(OWN_CLAIM, None, None, Continue(OWN_CLAIM), id="claimed, nothing said yet"),
        pytest.param(OWN_CLAIM, OPEN, None, Continue(OWN_CLAIM), id="claimed and begun"),
        pytest.param(OWN_CLAIM, ENDED, None, Finish(ENDED), id="ended, only its ack was lost"),
        pytest.param(OTHERS_CLAIM, ENDED, OTHER_OPEN, Finish(ENDED), id="ended by somebody else's holder"),
        pytest.param(None, ENDED, None, Finish(ENDED), id="ended, its claim has expired"),
        pytest.param(OTHERS_CLAIM, None, OTHER_ENDED, Begin(OTHERS_CLAIM, 9), id="after the message before"),
        pytest.param(OTHERS_CLAIM, None, OTHER_OPEN, Recount(OTHERS_CLAIM), id="after an abandoned one"),
        pytest.param(OWN_FENCE, None, None, Recount(OWN_FENCE), id="whoever counted died before it was done"),
        pytest.param(OTHERS_CLAIM, None, None, Recount(OTHERS_CLAIM), id="after one that said nothing"),
    ],
)
def test_a_turn_is_planned(
    claim: HeldClaim | None, own: Record | None, previous: Record | None, expected: Plan
) -> None:
    assert plan(M, claim, own, previous) == expected


# --- told ---------------------------------------------------------------------------------------------------------------


def test_nothing_told_leaves_the_session_where_it_was() -> None:
    nothing = told([], M, 7)
    assert (nothing.text, nothing.content_chunks, nothing.next_chunk_id, nothing.offset) == ("", 0, 0, 7)
    assert (nothing.records, nothing.final) == (0, None)


@given(st.lists(st.lists(st.text(max_size=5), min_size=1, max_size=4), max_size=5), st.integers(0, 50))
@settings(deadline=None)
def test_what_was_told_is_every_content_chunk_in_order(batches: list[list[str]], base: int) -> None:
    records, number = [], 0
    for offset, batch in enumerate(batches, base + 1):
        records.append(record(offset, *(chunk(number + at, text) for at, text in enumerate(batch))))
        number += len(batch)
    summed = told(records, M, base)
    assert summed.text == "".join(text for batch in batches for text in batch)
    assert summed.content_chunks == summed.next_chunk_id == number
    assert (summed.offset, summed.records) == (base + len(batches), len(batches))


def test_what_was_shown_before_a_reset_does_not_count_but_its_ids_are_used_up() -> None:
    summed = told([record(1, chunk(0), chunk(1)), record(2, chunk(2, "b"), reset="x")], M, 0)
    assert (summed.text, summed.content_chunks, summed.next_chunk_id) == ("b", 1, 3)


def test_notices_and_metadata_are_no_text_but_have_ids() -> None:
    notice = chunk(1) | {"chunk_type": "system"}
    summed = told([record(1, chunk(0, "a"), notice)], M, 0)
    assert (summed.text, summed.content_chunks, summed.next_chunk_id) == ("a", 1, 2)


def test_a_final_record_is_found() -> None:
    ended = record(2, chunk(1, "", final="stop"))
    summed = told([record(1, chunk(0, "a")), ended], M, 0)
    assert summed.final == ended
    assert (summed.text, summed.content_chunks) == ("a", 1)


def test_records_of_other_messages_move_the_offset_only() -> None:
    between = record(2, chunk(0, "no", message="other", final="cancelled"), message="other")
    summed = told([record(1, chunk(0, "a")), between], M, 0)
    assert (summed.text, summed.offset, summed.records, summed.final) == ("a", 2, 1, None)


def test_a_chunk_of_somebody_else_that_lacks_fields_stops_no_turn() -> None:
    odd = record(1, {}, {"chunk_id": "x", "chunk": 5}, chunk(3, "a"), {"chunk_id": None})
    summed = told([odd], M, 0)
    assert (summed.text, summed.next_chunk_id) == ("a", 4)


CALL = chunk(1, '{"type":"tool_call","index":0}') | {"chunk_type": "metadata"}
THOUGHT = chunk(1, '{"type":"reasoning","text":"\\"type\\":\\"tool_call\\""}') | {"chunk_type": "metadata"}


@pytest.mark.parametrize(
    ("chunks", "is_void"),
    [
        pytest.param([chunk(0)], False, id="text"),
        pytest.param([chunk(0), CALL], True, id="a tool call behind text"),
        pytest.param([THOUGHT], True, id="thoughts only"),
        pytest.param([THOUGHT, chunk(2)], False, id="text behind thoughts"),
        pytest.param([], False, id="nothing"),
    ],
)
def test_half_a_tool_call_or_thoughts_alone_can_not_be_gone_on_with(
    chunks: list[dict[str, Any]], is_void: bool
) -> None:
    assert told([record(1, *chunks)], M, 0).is_void is is_void


def test_a_reset_takes_back_a_tool_call_too() -> None:
    assert not told([record(1, CALL), record(2, chunk(2), reset="x")], M, 0).is_void
