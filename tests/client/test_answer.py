"""The events of a message become its answer, whatever happened on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatmesh.client import Answer, BegunAnew, Called, Event, Piece, Said, Thought
from chatmesh.errors import ProtocolError
from tests.operate.support import chunk, sha


def message(number: int, text: str = "", **fields: Any) -> Event:
    return Event("message", json.dumps(chunk("m", number, text, **fields)), f"p{number}")


def structure(number: int, **data: Any) -> Event:
    return message(number, json.dumps(data), chunk_type="metadata")


def final(number: int, text: str = "", **metadata: Any) -> Event:
    return message(number, text, is_final=True, metadata={"finish_reason": "stop"} | metadata)


def reset(**data: Any) -> Event:
    return Event("reset", json.dumps(data), "p")


def taken(*events: Event) -> tuple[Answer, list[Piece]]:
    answer = Answer("s", "m")
    return answer, [piece for event in events for piece in answer.take(event)]


def test_text_is_what_the_content_chunks_say_the_final_one_too() -> None:
    answer, pieces = taken(
        message(0, "one "), message(1, "two "), final(2, "three", digest=sha("one two three"))
    )
    assert pieces == [Said("one "), Said("two "), Said("three")]
    assert (answer.text, answer.finish_reason, answer.is_whole) == ("one two three", "stop", True)
    assert (answer.next_chunk, answer.chunks) == (3, 3)


def test_answer_is_not_over_and_not_whole_before_its_final_chunk() -> None:
    answer, _ = taken(message(0, "one "))
    assert (answer.is_over, answer.is_whole, answer.finish_reason) == (False, False, None)


@pytest.mark.parametrize(
    ("metadata", "is_whole"), [({}, True), ({"digest": sha("one")}, True), ({"digest": "x"}, False)]
)
def test_text_is_whole_unless_its_digest_says_otherwise(metadata: dict[str, Any], is_whole: bool) -> None:
    assert taken(message(0, "one"), final(1, **metadata))[0].is_whole is is_whole


@pytest.mark.parametrize("named", [{}, {"message_id": "m"}])
def test_after_a_reset_only_what_follows_counts(named: dict[str, str]) -> None:
    answer, pieces = taken(
        message(0, "one "), reset(reason="restart", **named), message(1, "two"), final(2, digest=sha("two"))
    )
    assert pieces == [Said("one "), BegunAnew("restart"), Said("two")]
    assert (answer.text, answer.is_whole, answer.chunks) == ("two", True, 1)


def test_what_is_another_messages_is_not_ours() -> None:
    other = Event("message", json.dumps(chunk("other", 0, "x", is_final=True)), "p")
    answer, pieces = taken(message(0, "one"), reset(reason="restart", message_id="other"), other)
    assert pieces == [Said("one")]
    assert not answer.is_over


def test_erased_session_ends_it() -> None:
    answer, _ = taken(message(0, "one"), reset(reason="session_erased"))
    assert (answer.is_over, answer.is_whole, answer.text) == (True, False, "")


def test_thoughts_come_as_they_are_and_tool_calls_when_they_are_whole() -> None:
    answer, pieces = taken(
        structure(0, type="reasoning", text="hm"),
        structure(1, type="tool_call", index=0, id="a", name="weather", arguments=""),
        structure(2, type="tool_call", index=1, id="b", name="time", arguments="{}"),
        structure(3, type="tool_call", index=0, arguments='{"city": "Graz"}'),
        structure(4, type="something new"),
        final(5, finish_reason="tool_calls"),
    )
    assert pieces == [Thought("hm"), Called("weather", '{"city": "Graz"}'), Called("time", "{}")]
    assert answer.finish_reason == "tool_calls"
    assert answer.text == ""


def test_error_final_is_an_error_whatever_its_metadata_says() -> None:
    told = {"code": "unknown_model", "message": "No."}
    answer, pieces = taken(message(0, "No.", chunk_type="error", is_final=True, error=told))
    assert (answer.finish_reason, answer.error, answer.text, pieces) == ("error", told, "", [])


@pytest.mark.parametrize(
    ("metadata", "tokens"),
    [
        ({}, 2),
        ({"tokens_used": 5}, 5),
        ({"tokens_used": 5, "usage": {"completion_tokens": 7}}, 7),
        ({"tokens_used": "many", "usage": []}, 2),
    ],
)
def test_tokens_are_the_providers_count_before_the_workers_before_ours(
    metadata: dict[str, Any], tokens: int
) -> None:
    assert taken(message(0, "a"), message(1, "b"), final(2, **metadata))[0].tokens == tokens


@pytest.mark.parametrize("data", ["no json", "[]", '"text"', "\ud800"])
def test_what_no_pod_sends_is_an_error_of_ours(data: str) -> None:
    with pytest.raises(ProtocolError):
        Answer("s", "m").take(Event("message", data, ""))


def test_event_with_another_name_says_nothing() -> None:
    assert Answer("s", "m").take(Event("news", "no json", "")) == []
