"""An answer as the Vercel AI SDK's parts of a message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmesh.protocol.tokens import Token
from chatmesh.protocol.vercel_ui import MessageStream
from tests.protocol.test_openai_chat import CALLS, structured
from tests.protocol.test_openai_responses import PIECES, THOUGHT, in_records
from tests.units.made import chunk

Part = dict[str, Any]

KNOWN = {
    "start",
    "start-step",
    "finish-step",
    "finish",
    "abort",
    "error",
    "tool-input-start",
    "tool-input-delta",
    "tool-input-available",
    "tool-input-error",
} | {f"{kind}-{what}" for kind in ("text", "reasoning") for what in ("start", "delta", "end")}
"""Another `type` is fatal to clients."""


def parts(data: bytes) -> list[Part]:
    """Each block is one line of `data:`; the last says that it is done."""
    blocks = data.decode().split("\n\n")
    assert blocks.pop() == ""
    assert blocks.pop() == "data: [DONE]"
    found = [json.loads(block.removeprefix("data: ")) for block in blocks]
    assert {part["type"] for part in found} <= KNOWN
    return found


def told(*chunks: dict[str, Any]) -> list[Part]:
    stream = MessageStream(Token("m"))
    return parts(stream.opening() + b"".join(stream.chunk(piece) for piece in chunks))


def test_text_is_a_part_that_starts_and_ends() -> None:
    assert told(chunk(0, "a "), chunk(1, "b"), chunk(2, "", final="stop")) == [
        {"type": "start", "messageId": "answer_m"},
        {"type": "start-step"},
        {"type": "text-start", "id": "text-1"},
        {"type": "text-delta", "id": "text-1", "delta": "a "},
        {"type": "text-delta", "id": "text-1", "delta": "b"},
        {"type": "text-end", "id": "text-1"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "stop"},
    ]


def test_thoughts_are_parts_of_their_own() -> None:
    kinds = [part["type"] for part in told(*THOUGHT)][2:-2]
    assert kinds == [
        "reasoning-start",
        "reasoning-delta",
        "reasoning-end",
        "text-start",
        "text-delta",
        "text-end",
    ]


def test_calls_are_available_once_they_are_whole() -> None:
    found = told(*CALLS)
    whole = [part for part in found if part["type"] == "tool-input-available"]
    assert [(part["toolCallId"], part["toolName"], part["input"]) for part in whole] == [
        ("c0", "look", {"a": 1}),
        ("c1", "see", {}),
    ]
    assert found[-1] == {"type": "finish", "finishReason": "tool-calls"}


def test_call_whose_arguments_are_no_json_is_an_error_of_that_call() -> None:
    broken = structured(0, type="tool_call", index=0, id="c0", name="look", arguments='{"a"')
    (part,) = [part for part in told(broken, CALLS[-1]) if part["type"] == "tool-input-error"]
    assert part["input"] == '{"a"'


@pytest.mark.parametrize("reason", ["error", "cancelled"])
def test_half_a_call_is_none(reason: str) -> None:
    """A client would run its tool."""
    found = told(CALLS[0], chunk(1, "", final=reason))
    assert not [part for part in found if part["type"] in ("tool-input-available", "tool-input-error")]


@pytest.mark.parametrize(
    ("reason", "last"),
    [
        ("length", {"type": "finish", "finishReason": "length"}),
        ("content_filter", {"type": "finish", "finishReason": "content-filter"}),
        ("odd", {"type": "finish", "finishReason": "other"}),
        ("cancelled", {"type": "abort"}),
        ("error", {"type": "error", "errorText": "e"}),
    ],
)
def test_end_says_how_it_ended(reason: str, last: Part) -> None:
    found = told(chunk(0, "half"), chunk(1, "", final=reason))
    assert found[-1] == last
    assert {"type": "text-end", "id": "text-1"} in found


@given(st.lists(PIECES, max_size=12), st.data())
def test_any_way_of_splitting_chunks_into_records_gives_the_same_parts(
    pieces: list[dict[str, Any]], data: st.DataObject
) -> None:
    chunks = [*pieces, chunk(99, "", final="stop")]
    assert parts(in_records(MessageStream(Token("m")), chunks, data)) == told(*chunks)
