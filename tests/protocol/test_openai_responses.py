"""An answer as OpenAI's responses: events whose numbers follow from the transcript, and the object that they end in."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmesh.hub.wires import Projection
from chatmesh.protocol.openai_ids import read_response_id, response_id
from chatmesh.protocol.openai_responses import ATTEMPT, Asked, ResponseStream, response
from chatmesh.protocol.positions import START
from chatmesh.protocol.projection import Encoder
from chatmesh.protocol.tokens import Token
from tests.protocol.test_openai_chat import CALLS, structured
from tests.units.made import chunk, record

ID = response_id(Token("s_1"), Token("m"))
ASKED = Asked(ID, 1_763_411_405, "echo", "one two three four", {"metadata": {"a": "b"}, "temperature": 0.5})

Event = dict[str, Any]


def events(data: bytes) -> list[Event]:
    """Each block is `event:` and one line of `data:`, and both say the same type."""
    blocks = data.decode().split("\n\n")
    assert blocks.pop() == ""
    found = []
    for block in blocks:
        name, line = block.split("\n")
        found.append(json.loads(line.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def told(chunks: list[dict[str, Any]], *, resets: int = 0, starting_after: int = -1) -> list[Event]:
    stream = ResponseStream(ASKED, resets=resets, starting_after=starting_after)
    return events(stream.opening() + b"".join(stream.chunk(piece) for piece in chunks))


def types(found: list[Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in found]


WORDS = [chunk(0, "a "), chunk(1, "b"), chunk(2, "", final="stop")]
THOUGHT = [structured(0, type="reasoning", text="hm"), chunk(1, "a"), chunk(2, "", final="stop")]


def test_text_is_one_message_with_one_part() -> None:
    found = told(WORDS)
    assert types(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in found] == list(range(10))
    assert found[0]["response"]["status"] == "in_progress"
    assert found[6]["text"] == "a b"
    assert found[-1]["response"]["output"] == [found[-2]["item"]]
    assert found[-2]["item"]["status"] == "completed"


def test_thoughts_are_an_item_of_their_own_before_the_text() -> None:
    found = told(THOUGHT)
    assert types(found)[2:9] == [
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
    ]
    output = found[-1]["response"]["output"]
    assert [(item["type"], item["content"][0]["text"]) for item in output] == [
        ("reasoning", "hm"),
        ("message", "a"),
    ]
    assert len({item["id"] for item in output}) == 2


def test_calls_that_are_streamed_side_by_side_are_items_side_by_side() -> None:
    found = told(CALLS)
    deltas = [(event["output_index"], event["delta"]) for event in found if "delta" in event]
    assert deltas == [(0, '{"a":'), (1, "{}"), (0, "1}")]
    done = [event for event in found if event["type"] == "response.function_call_arguments.done"]
    assert [(event["name"], event["arguments"]) for event in done] == [("look", '{"a":1}'), ("see", "{}")]
    output = found[-1]["response"]["output"]
    assert [(item["call_id"], item["status"]) for item in output] == [
        ("c0", "completed"),
        ("c1", "completed"),
    ]


def test_text_behind_a_call_is_a_new_message() -> None:
    output = told([chunk(9, "before"), *CALLS[:1], chunk(9, "behind"), chunk(10, "", final="stop")])[-1]
    assert [item["type"] for item in output["response"]["output"]] == ["message", "function_call", "message"]


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
        ("cancelled", "cancelled", None),
        ("error", "failed", None),
    ],
)
def test_end_says_how_it_ended(reason: str, status: str, why: dict[str, str] | None) -> None:
    found = told([chunk(0, "half"), chunk(1, "", final=reason)])
    whole = found[-1]["response"]
    assert found[-1]["type"] == f"response.{status}"
    assert (whole["status"], whole["incomplete_details"]) == (status, why)
    assert whole["output"][0]["status"] == ("completed" if status == "completed" else "incomplete")
    assert (whole["error"] is not None) is (status == "failed")
    assert (whole["completed_at"] is not None) is (status == "completed")


def test_failure_says_what_failed() -> None:
    error = told([chunk(0, "", final="error")])[-1]["response"]["error"]
    assert error == {"code": "server_error", "message": "e", "type": "c"}


def test_usage_is_the_providers_count_else_an_estimate() -> None:
    final = chunk(1, "", final="stop")
    final["metadata"] |= {"tokens_used": 3}
    estimated = told([final])[-1]["response"]["usage"]
    assert (estimated["input_tokens"], estimated["output_tokens"], estimated["total_tokens"]) == (8, 3, 11)
    final["metadata"]["usage"] = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert told([final])[-1]["response"]["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 8},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 15,
    }


def test_text_in_the_final_chunk_is_told() -> None:
    """Somebody else's worker may end so."""
    found = told([chunk(0, "a"), chunk(1, "b", final="stop")])
    assert found[-1]["response"]["output"][0]["content"][0]["text"] == "ab"


@pytest.mark.parametrize("chunks", [WORDS, THOUGHT, CALLS])
def test_object_is_what_the_events_end_in(chunks: list[dict[str, Any]]) -> None:
    for resets in (0, 2):
        assert response(ASKED, chunks, resets=resets) == told(chunks, resets=resets)[-1]["response"]


def test_object_of_an_answer_under_way_goes_as_far_as_it_goes() -> None:
    assert response(ASKED, [], resets=0, has_begun=False)["status"] == "queued"
    half = response(ASKED, WORDS[:2], resets=0)
    assert (half["status"], half["usage"]) == ("in_progress", None)
    assert half["output"][0]["content"][0]["text"] == "a b"


@pytest.mark.parametrize("chunks", [WORDS, THOUGHT, CALLS])
def test_starting_after_any_number_gives_exactly_what_follows(chunks: list[dict[str, Any]]) -> None:
    whole = told(chunks)
    for number in range(-1, len(whole)):
        assert told(chunks, starting_after=number) == whole[number + 1 :]


def test_number_of_an_attempt_that_was_taken_back_gets_all_of_the_new_one() -> None:
    """A reader that has seen the first attempt to any place sees a response that begins anew, and larger numbers."""
    first, second = told(WORDS), told(WORDS, resets=1)
    assert second[0]["type"] == "response.created"
    assert second[0]["sequence_number"] == ATTEMPT
    for seen in first:
        assert told(WORDS, resets=1, starting_after=seen["sequence_number"]) == second
    assert {item["id"] for item in first[-1]["response"]["output"]}.isdisjoint(
        item["id"] for item in second[-1]["response"]["output"]
    )


PIECES = st.one_of(
    st.text(max_size=5).map(lambda text: chunk(0, text)),
    st.text(max_size=5).map(lambda text: structured(0, type="reasoning", text=text)),
    st.builds(
        lambda index, arguments: structured(0, type="tool_call", index=index, arguments=arguments),
        st.integers(0, 2),
        st.text(max_size=5),
    ),
    st.just(chunk(0, "?") | {"chunk_type": "metadata"}),
    st.just(chunk(0, "x") | {"chunk_type": "system"}),
)


def in_records(encoder: Encoder, chunks: list[dict[str, Any]], data: st.DataObject) -> bytes:
    """What a reader gets where the chunks lie in any records."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(chunks)))) | {0, len(chunks)})
    wire = Projection(encoder)
    said = [wire.opening(START)]
    for offset, (begin, end) in enumerate(pairwise(cuts), 1):
        said.append(wire.record(record(offset, *chunks[begin:end]), 0) or b"")
    return b"".join(said)


@given(st.lists(PIECES, max_size=12), st.data())
def test_any_way_of_splitting_chunks_into_records_gives_the_same_events(
    pieces: list[dict[str, Any]], data: st.DataObject
) -> None:
    chunks = [*pieces, chunk(99, "", final="stop")]
    found = events(in_records(ResponseStream(ASKED, resets=0), chunks, data))
    assert found == told(chunks)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert_items_open_and_close_once(found)


def assert_items_open_and_close_once(found: list[Event]) -> None:
    """Every delta is of an item that was added and is not done, and all are done before the end."""
    is_open: set[int] = set()
    added = 0
    for event in found[2:-1]:
        index = event["output_index"]
        if event["type"] == "response.output_item.added":
            assert index == added
            added += 1
            is_open.add(index)
        assert index in is_open
        if event["type"] == "response.output_item.done":
            is_open.remove(index)
    assert not is_open
    assert len(found[-1]["response"]["output"]) == added


TOKENS = st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True).map(Token)


@given(TOKENS, TOKENS)
def test_id_names_its_session_and_message(session_id: Token, message_id: Token) -> None:
    assert read_response_id(response_id(session_id, message_id)) == (session_id, message_id)


@given(st.one_of(st.text(), st.from_regex(r"resp_[0-9]{1,4}_[A-Za-z0-9_-]{1,20}", fullmatch=True)))
def test_what_is_no_id_is_none(text: str) -> None:
    ids = read_response_id(text)
    assert ids is None or response_id(*ids) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "resp_",
        "resp_1_ab",
        "resp_1_a_",
        "resp_0__m",
        "resp_01_a_m",
        "resp_9_a_m",
        "resp_1_a_m.",
        "resp_1_*_m",
    ],
)
def test_ids_that_nobody_gave_are_none(text: str) -> None:
    assert read_response_id(text) is None
