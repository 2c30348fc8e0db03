"""History: two rows for a message, its state, and only the text that stands."""

from __future__ import annotations

import pytest

from chatmesh.ingress.conversation import assistant_row, rows, user_row, waiting
from chatmesh.ingress.conversation import status as status_of
from chatmesh.protocol.exchanges import Exchange, exchanges
from chatmesh.protocol.records import Record, asked
from tests.units.made import chunk, record, request

ASKED = asked(request("What?", model="count"))
FIRST = record(1, chunk(0, "a"), chunk(1, "b"), request=ASKED)


def one(*records: Record) -> Exchange:
    (exchange,) = exchanges(records)
    return exchange


def test_a_message_is_a_row_of_the_user_and_one_of_the_assistant() -> None:
    user, assistant = rows(one(FIRST, record(2, chunk(2, "", final="stop"))))
    assert user == {
        "message_id": "m",
        "role": "user",
        "content": "What?",
        "status": "done",
        "finish_reason": None,
        "created_at": "t",
        "user_id": "u",
        "correlation_id": "c",
    }
    assert assistant == {
        "message_id": "m",
        "role": "assistant",
        "content": "ab",
        "status": "done",
        "finish_reason": "stop",
        "created_at": "t0",
        "ended_at": "t2",
        "model": "count",
        "attempt": 1,
    }


@pytest.mark.parametrize(
    ("final", "status"),
    [
        (None, "running"),
        ("stop", "done"),
        ("length", "done"),
        ("tool_calls", "done"),
        ("content_filter", "done"),
        ("cancelled", "stopped"),
        ("error", "failed"),
    ],
)
def test_the_state_of_an_answer_follows_from_its_final(final: str | None, status: str) -> None:
    records = [FIRST] if final is None else [FIRST, record(2, chunk(2, "", final=final))]
    exchange = one(*records)
    assert (status_of(exchange), exchange.finish_reason) == (status, final)
    assert {row["status"] for row in rows(exchange)} == {status}


def test_a_stopped_answer_keeps_its_partial_text() -> None:
    exchange = one(FIRST, record(2, chunk(2, "", final="cancelled")))
    assert assistant_row(exchange)["content"] == "ab"


def test_a_failed_answer_says_why_and_shows_no_error_as_text() -> None:
    row = assistant_row(one(FIRST, record(2, chunk(2, "", final="error"))))
    assert row["error"] == {"code": "c", "message": "e"}
    assert row["content"] == "ab"


def test_text_before_a_reset_is_no_part_of_the_answer() -> None:
    exchange = one(FIRST, record(2, chunk(2, "new"), reset="worker_changed", attempt=2))
    row = assistant_row(exchange)
    assert (row["content"], row["attempt"], row["status"]) == ("new", 2, "running")
    assert user_row(exchange)["content"] == "What?"


def test_metadata_and_notices_are_no_text() -> None:
    other = [chunk(2, "no") | {"chunk_type": kind} for kind in ("metadata", "system")]
    assert assistant_row(one(FIRST, record(2, *other)))["content"] == "ab"


def test_messages_stand_in_the_order_in_which_they_began() -> None:
    records = [
        record(1, chunk(0, message="one"), message="one"),
        record(2, chunk(0, message="two", final="cancelled"), message="two"),
        record(3, chunk(1, message="one", final="stop"), message="one"),
    ]
    assert [(exchange.message_id, status_of(exchange)) for exchange in exchanges(records)] == [
        ("one", "done"),
        ("two", "stopped"),
    ]


@pytest.mark.parametrize(("is_claimed", "status"), [(False, "queued"), (True, "running")])
def test_a_message_without_a_record_has_its_place_and_an_empty_answer(is_claimed: bool, status: str) -> None:
    user, assistant = rows(waiting(request("What?", model="echo")), is_claimed=is_claimed)
    assert (user["content"], user["status"]) == ("What?", status)
    assert (assistant["content"], assistant["status"]) == ("", status)
    assert (assistant["finish_reason"], assistant["created_at"]) == (None, None)


def test_what_is_waiting_and_what_is_told_have_the_same_user_row() -> None:
    told = one(record(1, chunk(0), request=asked(request("What?", model="count"))))
    assert user_row(told) == user_row(waiting(request("What?", model="count")), is_claimed=True)


@pytest.mark.parametrize("metadata", [None, "x", [], {"finish_reason": 5}, {}])
def test_a_final_of_somebody_else_with_odd_metadata_spoils_no_history(metadata: object) -> None:
    odd = chunk(0, final="stop") | {"metadata": metadata}
    exchange = one(record(1, odd))
    assert (status_of(exchange), exchange.finish_reason) == ("done", None)


def test_no_records_are_no_turns() -> None:
    assert exchanges([]) == []
