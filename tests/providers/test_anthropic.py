"""Anthropic's dialect: its documented events, and requests in its words."""

from __future__ import annotations

from typing import Any

import pytest

from chatmesh.errors import ProtocolError, ProviderError
from chatmesh.providers import Delta, Prompt, Usage
from chatmesh.providers.anthropic_answer import AnthropicAnswer
from chatmesh.providers.anthropic_request import body_of
from chatmesh.providers.base import Continuation
from chatmesh.providers.splitter import Splitter
from tests.providers.asking import closing, said, text
from tests.providers.dialects import ANTHROPIC
from tests.providers.upstreams import named, status, stream, upstream


def read(*events: dict[str, Any]) -> list[Delta]:
    answer = AnthropicAnswer()
    deltas = [delta for event in Splitter().feed(named(events)) for delta in answer.feed(event)]
    return [*deltas, answer.end()]


def pieces(*events: dict[str, Any]) -> list[Any]:
    return [delta.data for delta in read(*events) if delta.data is not None]


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def args(text: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": text}


def end(reason: str = "end_turn", **usage: int) -> list[dict[str, Any]]:
    return [
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]


def test_text_thoughts_and_tool_use_in_one_answer() -> None:
    events = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}},
        *block(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "hm"}),
        *block(
            1, {"type": "redacted_thinking", "data": "xxx"}, {"type": "signature_delta", "signature": "s"}
        ),
        {"type": "ping"},
        *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "let me see"}),
        *block(
            3, {"type": "tool_use", "id": "t1", "name": "f", "input": {}}, args(""), args('{"a":'), args("1}")
        ),
        *block(4, {"type": "tool_use", "id": "t2", "name": "g", "input": {}}),
        *block(5, {"type": "server_tool_use", "id": "s", "name": "search", "input": {}}, args('{"q":1}')),
        {"type": "something_new", "delta": 5},
        *end("tool_use", output_tokens=20),
    ]
    assert pieces(*events) == [
        {"type": "reasoning", "text": "hm"},
        {"type": "tool_call", "index": 0, "id": "t1", "name": "f", "arguments": ""},
        {"type": "tool_call", "index": 0, "arguments": '{"a":'},
        {"type": "tool_call", "index": 0, "arguments": "1}"},
        {"type": "tool_call", "index": 1, "id": "t2", "name": "g", "arguments": ""},
        {"type": "tool_call", "index": 1, "arguments": "{}"},
    ]
    deltas = read(*events)
    assert text(deltas) == "let me see"
    assert (deltas[-1].finish_reason, deltas[-1].usage) == ("tool_calls", Usage(5, 20))


def test_cached_tokens_count_as_input_and_are_told() -> None:
    start = {
        "input_tokens": 5,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 10,
        "output_tokens": 1,
    }
    events = [{"type": "message_start", "message": {"usage": start}}, *end(output_tokens=7)]
    assert read(*events)[-1].usage == Usage(115, 7, {"cached_tokens": 100, "cache_write_tokens": 10})


# --- the request ------------------------------------------------------------------------------------------------------


def asked(context: dict[str, Any], *history: dict[str, Any], version: str = "2023-06-01") -> Any:
    prompt = Prompt("m", "hi", context, history)
    return body_of(
        prompt, "", model="claude", continuation=Continuation.OVERLAP, max_tokens=None, api_version=version
    )


def test_openais_words_become_anthropics() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "number"}}}
    tools = [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema}},
        {"name": "own", "input_schema": schema},
        {"type": "function", "function": {"name": "bare"}},
    ]
    context = {
        "system_prompt": "be brief",
        "temperature": 0.5,
        "stop": "x",
        "tools": tools,
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_completion_tokens": 9,
    }
    body, dropped = asked(context, {"role": "system", "content": "and kind"})
    assert dropped == ()
    assert body == {
        "model": "claude",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 9,
        "stream": True,
        "system": "be brief\n\nand kind",
        "temperature": 0.5,
        "stop_sequences": ["x"],
        "tools": [
            {"name": "f", "description": "d", "input_schema": schema},
            {"name": "own", "input_schema": schema},
            {"name": "bare", "input_schema": {"type": "object", "properties": {}}},
        ],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    }


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "tool", "name": "f"}),
        ({"type": "any"}, {"type": "any"}),
    ],
)
def test_a_choice_of_tools_is_translated(choice: Any, expected: dict[str, Any]) -> None:
    assert asked({"tools": [{"name": "f"}], "tool_choice": choice})[0]["tool_choice"] == expected


def test_tools_and_their_answers_in_the_history_become_blocks() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    body, _ = asked(
        {},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": "https://h/i"}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", **call}, {"id": "2", **call}]},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
        {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "y"}]},
    )
    use = {"type": "tool_use", "name": "f", "input": {"a": 1}}
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "see"},
                {"type": "image", "source": {"type": "url", "url": "https://h/i"}},
            ],
        },
        {"role": "assistant", "content": [use | {"id": "1"}, use | {"id": "2"}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": "x"},
                {"type": "tool_result", "tool_use_id": "2", "content": "y"},
            ],
        },
        {"role": "user", "content": "hi"},
    ]


def test_what_the_api_does_not_know_is_dropped_and_named() -> None:
    body, dropped = asked({"seed": 1, "response_format": {"type": "json_object"}, "top_k": 3})
    assert body["top_k"] == 3
    assert sorted(dropped) == ["response_format", "seed"]


def test_newer_versions_take_no_sampling() -> None:
    body, dropped = asked({"temperature": 0, "top_p": 1, "top_k": 3}, version="2026-10-21")
    assert not {"temperature", "top_p", "top_k"} & body.keys()
    assert sorted(dropped) == ["temperature", "top_k", "top_p"]


@pytest.mark.parametrize("tools", ["f", [1], {"a": 1}])
def test_tools_of_a_wrong_shape_are_refused_with_what_was_expected(tools: Any) -> None:
    with pytest.raises(ProviderError, match="expected tools as OpenAI's"):
        asked({"tools": tools})


def test_arguments_that_are_no_json_are_refused() -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": "{"}}
    with pytest.raises(ProtocolError, match="arguments in the history"):
        asked({}, {"role": "assistant", "tool_calls": [call]})


async def test_versions_and_notes_reach_the_wire_and_the_answer() -> None:
    refused = {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "`top_p` and `temperature` cannot both be specified",
        },
    }
    prompt = Prompt("m", "hi", {"temperature": 1, "top_p": 0.5, "seed": 3})
    async with (
        upstream(status(400, refused), stream(ANTHROPIC.answer("x"))) as server,
        closing(ANTHROPIC.provider(server.url)) as model,
    ):
        last = (await said(model, prompt))[-1]
    assert last.notes == {"dropped": ["seed", "top_p"]}
    assert server.asked[0].headers["anthropic-version"] == "2023-06-01"
    assert server.asked[1].body["temperature"] == 1
    assert server.asked[1].body["max_tokens"] == 4096
