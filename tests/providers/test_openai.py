"""OpenAI's dialect, and what other servers have made of it: recorded oddities, one each."""

from __future__ import annotations

from typing import Any

import pytest

from chatmesh.providers import Delta, Prompt, Usage
from chatmesh.providers.base import Continuation
from chatmesh.providers.openai_answer import OpenaiAnswer
from chatmesh.providers.openai_request import body_of
from chatmesh.providers.splitter import Splitter
from tests.providers.asking import closing, failure, said, text
from tests.providers.dialects import OPENAI
from tests.providers.upstreams import data, status, stream, upstream


def read(*events: object) -> list[Delta]:
    """The deltas of a stream of these events, the last one included."""
    answer = OpenaiAnswer()
    deltas = [delta for event in Splitter().feed(data(*events)) for delta in answer.feed(event)]
    return [*deltas, answer.end()]


def chunk(delta: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def pieces(*events: object) -> list[Any]:
    """The structured pieces of an answer."""
    return [delta.data for delta in read(*events) if delta.data is not None]


USAGE = {"prompt_tokens": 3, "completion_tokens": 2}


@pytest.mark.parametrize(
    "events",
    [
        [
            chunk({"role": "assistant", "content": None}),
            chunk({"content": "hi"}),
            chunk({}, "stop", usage=USAGE),
            "[DONE]",
        ],
        [chunk({"role": "assistant", "content": "hi"}, "stop", usage=USAGE), "[DONE]"],
        [chunk({"content": "hi"}, usage=USAGE), chunk({"content": ""}, "stop"), "[DONE]"],
        [chunk({"content": "hi"}, "stop", timings={"x": 1}), {"choices": [], "usage": USAGE}, "[DONE]"],
        [chunk({"content": "hi"}, "stop"), {"choices": [], "usage": USAGE}],
        [chunk({"content": "hi"}, usage=USAGE), "[DONE]"],
        [chunk({"content": "hi"}, "stop", usage=USAGE), "[DONE]", "what is this"],
        [
            {
                "choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
                "usage": USAGE,
            }
        ],
        [{"prompt_filter_results": [], "choices": []}, chunk({"content": "hi"}, "stop", usage=USAGE)],
        [chunk({"content": "hi"}), chunk(None, "stop", usage=USAGE, error=None)],
        [chunk({"refusal": "hi"}, "stop", usage=USAGE)],
    ],
    ids=[
        "null content",
        "all in one",
        "usage with content",
        "timings",
        "no done",
        "done alone",
        "more behind done",
        "no stream",
        "azure",
        "null delta and error",
        "refusal",
    ],
)
def test_an_answer_is_found_in_every_shape_that_was_seen(events: list[object]) -> None:
    deltas = read(*events)
    assert text(deltas) == "hi"
    assert (deltas[-1].finish_reason, deltas[-1].usage) == ("stop", Usage(3, 2))


def test_usage_says_what_was_cached_and_thought() -> None:
    usage = USAGE | {
        "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    assert read(chunk({}, "stop", usage=usage))[-1].usage == Usage(
        3, 2, {"cached_tokens": 2, "reasoning_tokens": 1}
    )
    assert read(chunk({}, "stop", usage={"prompt_tokens": None, "completion_tokens": -1}))[-1].usage == Usage(
        0, 0
    )


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_thoughts_are_pieces_of_their_own(key: str) -> None:
    assert pieces(chunk({key: "hm"}), chunk({"content": "hi"}, "stop")) == [
        {"type": "reasoning", "text": "hm"}
    ]


def call(**fields: Any) -> dict[str, Any]:
    return chunk({"tool_calls": [fields]})


def test_tool_calls_come_in_fragments() -> None:
    events = [
        call(index=0, id="c1", type="function", function={"name": "f", "arguments": ""}),
        call(index=0, function={"arguments": '{"a"'}),
        call(index=0, function={"arguments": ":1}"}),
        call(index=1, id="c2", function={"name": "g", "arguments": "{}"}),
        chunk({}, "tool_calls"),
    ]
    assert pieces(*events) == [
        {"type": "tool_call", "index": 0, "id": "c1", "name": "f", "arguments": ""},
        {"type": "tool_call", "index": 0, "arguments": '{"a"'},
        {"type": "tool_call", "index": 0, "arguments": ":1}"},
        {"type": "tool_call", "index": 1, "id": "c2", "name": "g", "arguments": "{}"},
    ]
    assert read(*events)[-1].finish_reason == "tool_calls"


def test_tool_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    events = [
        call(id="c1", function={"name": "f", "arguments": "{"}),
        call(function={"arguments": "}"}),
        call(id="c2", index=None, function={"name": "g", "arguments": "{}"}),
        chunk({}, "stop"),
    ]
    assert [piece["index"] for piece in pieces(*events)] == [0, 0, 1]
    assert read(*events)[-1].finish_reason == "tool_calls", "a server that says stop behind a call"


def test_old_function_calls_are_tool_calls() -> None:
    events = [chunk({"function_call": {"name": "f", "arguments": "{}"}}), chunk({}, "function_call")]
    assert pieces(*events) == [{"type": "tool_call", "index": 0, "name": "f", "arguments": "{}"}]
    assert read(*events)[-1].finish_reason == "tool_calls"


def test_long_arguments_become_pieces_that_fit_a_message() -> None:
    found = pieces(
        call(index=0, id="c", function={"name": "f", "arguments": "x" * 20_000}), chunk({}, "stop")
    )
    assert [len(piece["arguments"]) for piece in found] == [8192, 8192, 3616]
    assert ["id" in piece for piece in found] == [True, False, False]


@pytest.mark.parametrize(
    "delta",
    [
        {
            "tool_calls": [
                None,
                {"function": 5},
                {"index": -1, "function": {"arguments": {}}},
                {"index": 10**9},
            ]
        },
        {"tool_calls": "f"},
        {"reasoning": 7},
        {"function_call": "f"},
        "text",
        7,
    ],
)
def test_shapes_that_make_no_sense_are_passed_over(delta: Any) -> None:
    assert pieces(chunk(delta), chunk({}, "stop")) == []


# --- the request ------------------------------------------------------------------------------------------------------


def body(context: dict[str, Any], *, max_tokens: int | None = None, shown: str = "") -> dict[str, Any]:
    prompt = Prompt("m", "hi", context)
    return body_of(prompt, shown, model="m", continuation=Continuation.EXACT, max_tokens=max_tokens)


def test_what_a_request_says_of_the_answer_is_passed_on_and_nothing_else() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    context = {
        "temperature": 0.1,
        "stop": ["x"],
        "tools": tools,
        "top_p": None,
        "on_busy": "queue",
        "ai_provider": "x",
    }
    found = body(context)
    assert {key: found[key] for key in ("temperature", "stop", "tools")} == {
        "temperature": 0.1,
        "stop": ["x"],
        "tools": tools,
    }
    assert found.keys() == {"model", "messages", "stream", "stream_options", "temperature", "stop", "tools"}


def test_the_configured_limit_holds_for_requests_that_name_none() -> None:
    assert body({}, max_tokens=5)["max_tokens"] == 5
    assert body({"max_tokens": 7}, max_tokens=5)["max_tokens"] == 7
    assert "max_tokens" not in body({"max_completion_tokens": 7}, max_tokens=5)


def test_a_conversation_that_ends_with_a_tool_has_no_empty_message_behind_it() -> None:
    history = ({"role": "tool", "tool_call_id": "c", "content": "4"},)
    prompt = Prompt("m", "", {}, history)
    found = body_of(prompt, "", model="m", continuation=Continuation.OVERLAP, max_tokens=None)
    assert found["messages"] == list(history)


def test_vllm_is_told_to_go_on_with_the_last_message() -> None:
    assert body({}, shown="half")["continue_final_message"] is True
    assert "continue_final_message" not in body({})


# --- what a server does not take --------------------------------------------------------------------------------------


def refusing(message: str) -> Any:
    return status(400, {"error": {"message": message, "type": "invalid_request_error"}})


async def test_usage_is_done_without_where_a_server_does_not_know_it_and_asked_for_once() -> None:
    scripts = [refusing("Unrecognized request argument supplied: stream_options"), stream(OPENAI.answer("x"))]
    async with upstream(*scripts) as server, closing(OPENAI.provider(server.url)) as model:
        first, second = await said(model), await said(model)
    assert ["stream_options" in asked.body for asked in server.asked] == [True, False, False]
    assert (first[-1].notes, second[-1].notes) == ({}, {})


async def test_tuning_that_a_model_refuses_is_dropped_and_noted() -> None:
    scripts = [
        refusing(
            "Unsupported value: 'temperature' does not support 0.1 with this model. Only the default (1)"
        ),
        refusing("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        stream(OPENAI.answer("x")),
    ]
    prompt = Prompt("m", "hi", {"temperature": 0.1, "max_tokens": 9})
    async with upstream(*scripts) as server, closing(OPENAI.provider(server.url, retries=0)) as model:
        first, second = await said(model, prompt), await said(model, prompt)
    assert first[-1].notes == second[-1].notes == {"dropped": ["temperature"]}
    assert len(server.asked) == 4
    last = server.asked[-1].body
    assert last["max_completion_tokens"] == 9
    assert not {"temperature", "max_tokens"} & last.keys()


@pytest.mark.parametrize(
    "message",
    ["temperature must be between 0 and 2", "Unsupported: tools", "unknown model", "'stop' is not supported"],
)
async def test_what_changes_the_meaning_of_a_request_is_never_dropped(message: str) -> None:
    prompt = Prompt("m", "hi", {"temperature": 9, "tools": [{}], "stop": ["x"]})
    async with upstream(refusing(message)) as server, closing(OPENAI.provider(server.url)) as model:
        error = await failure(model, prompt)
    assert (error.code, len(server.asked)) == ("provider_refused", 1)
    assert error.what.endswith(message)


async def test_server_that_does_not_stream_is_read_too() -> None:
    answer = {"choices": [{"message": {"content": "all at once"}, "finish_reason": "stop"}]}
    async with upstream(status(200, answer)) as server, closing(OPENAI.provider(server.url)) as model:
        assert text(await said(model)) == "all at once"
