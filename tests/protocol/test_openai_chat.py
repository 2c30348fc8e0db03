"""An answer as OpenAI's clients know it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatmesh.protocol.openai_chat import ChatStream, completion, error_body
from tests.units.made import chunk

CREATED = 1_763_411_405


def structured(number: int, **data: Any) -> dict[str, Any]:
    return chunk(number, json.dumps(data)) | {"chunk_type": "metadata"}


CALLS = [
    structured(0, type="tool_call", index=0, id="c0", name="look", arguments=""),
    structured(1, type="tool_call", index=0, arguments='{"a":'),
    structured(2, type="tool_call", index=1, id="c1", name="see", arguments="{}"),
    structured(3, type="tool_call", index=0, arguments="1}"),
    chunk(4, "", final="tool_calls"),
]


def stream(*, has_usage: bool = False) -> ChatStream:
    return ChatStream("chatcmpl-m", "echo", CREATED, has_usage=has_usage, prompt_tokens=7)


def events(data: bytes) -> list[Any]:
    """Each block is one `data:` line: openai-python fails on any other."""
    blocks = data.decode().split("\n\n")
    assert blocks.pop() == ""
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    return [block[6:] if block == "data: [DONE]" else json.loads(block[6:]) for block in blocks]


def test_stream_begins_with_the_role_and_ends_with_the_reason_and_done() -> None:
    (first,) = events(stream().opening())
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "usage" not in first
    (second,) = events(stream().chunk(chunk(0, "hi")))
    assert second["choices"][0] == {
        "index": 0,
        "delta": {"content": "hi"},
        "logprobs": None,
        "finish_reason": None,
    }
    last, done = events(stream().chunk(chunk(1, "", final="length")))
    assert last["choices"][0]["delta"] == {}
    assert last["choices"][0]["finish_reason"] == "length"
    assert done == "[DONE]"


def test_usage_is_a_chunk_of_its_own_where_it_was_asked_for() -> None:
    asked = stream(has_usage=True)
    assert events(asked.chunk(chunk(0, "hi")))[0]["usage"] is None
    counted = chunk(1, "", final="stop") | {"metadata": {"finish_reason": "stop", "tokens_used": 3}}
    last, usage, _ = events(asked.chunk(counted))
    assert last["usage"] is None
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def test_provider_count_is_used_where_it_is_there() -> None:
    counted = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cached_tokens": 1}
    final = chunk(1, "", final="stop") | {"metadata": {"finish_reason": "stop", "usage": counted}}
    assert events(stream(has_usage=True).chunk(final))[1]["usage"] == counted


@pytest.mark.parametrize(
    ("ours", "theirs"), [("stop", "stop"), ("cancelled", "stop"), ("content_filter", "content_filter")]
)
def test_reasons_are_those_that_clients_know(ours: str, theirs: str) -> None:
    assert events(stream().chunk(chunk(0, "", final=ours)))[0]["choices"][0]["finish_reason"] == theirs


def test_failed_answer_is_an_error_event_and_done() -> None:
    error, done = events(stream().chunk(chunk(1, "", final="error")))
    assert error == {"error": {"message": "e", "type": "server_error", "param": None, "code": "c"}}
    assert done == "[DONE]"


def test_tool_calls_and_thoughts_are_deltas_of_theirs() -> None:
    deltas = [events(stream().chunk(piece))[0]["choices"][0]["delta"] for piece in CALLS[:2]]
    assert deltas == [
        {
            "tool_calls": [
                {"index": 0, "id": "c0", "type": "function", "function": {"name": "look", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
    ]
    thought = events(stream().chunk(structured(0, type="reasoning", text="hm")))
    assert thought[0]["choices"][0]["delta"] == {"reasoning_content": "hm"}


@pytest.mark.parametrize(
    "piece",
    [
        structured(0, type="new"),
        chunk(0, "x") | {"chunk_type": "system"},
        chunk(0, "no JSON") | {"chunk_type": "metadata"},
    ],
)
def test_what_the_format_does_not_know_is_left_out(piece: dict[str, Any]) -> None:
    assert stream().chunk(piece) == b""


def test_whole_answer_is_one_object() -> None:
    chunks = [
        structured(0, type="reasoning", text="hm"),
        chunk(1, "a"),
        chunk(2, "b"),
        chunk(3, "", final="stop"),
    ]
    body = completion("chatcmpl-m", "echo", CREATED, chunks, prompt_tokens=7)
    (choice,) = body["choices"]
    assert choice["message"]["content"] == "ab"
    assert choice["message"]["reasoning_content"] == "hm"
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"
    assert body["usage"]["prompt_tokens"] == 7


def test_tool_calls_are_put_together_from_their_fragments() -> None:
    (choice,) = completion("i", "m", CREATED, CALLS, prompt_tokens=0)["choices"]
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {"id": "c0", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}},
        {"id": "c1", "type": "function", "function": {"name": "see", "arguments": "{}"}},
    ]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (404, "invalid_request_error"),
        (429, "rate_limit_error"),
        (503, "server_error"),
    ],
)
def test_errors_have_the_type_that_goes_with_their_status(status: int, kind: str) -> None:
    assert error_body("no", "x", status=status)["error"]["type"] == kind
