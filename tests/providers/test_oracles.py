"""The official SDKs as oracles: what they make of the same bytes is what our deltas say, and what they would send is what we do.

Each is pointed at the server that our providers are tested with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import anthropic
import openai
import pytest
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter

from chatmesh.providers import Delta, Prompt, Usage
from tests.providers.asking import closing, said, text
from tests.providers.dialects import ANTHROPIC, DIALECTS, OPENAI, Dialect
from tests.providers.upstreams import Asked, data, named, stream, upstream

UNTOLD = [(OPENAI, "length"), (OPENAI, "content_filter")]
"""Where openai's own accumulation raises, so that there is nothing to compare with."""

Answer = tuple[str, str, list[tuple[str, str, Any]], str, Usage | None]
"""Text, thoughts, calls (id, name, arguments), the reason to end in our words, usage."""

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Graz"}'}}
PROMPT = Prompt(
    "m",
    "and tomorrow?",
    {
        "system_prompt": "be brief",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 100,
        "stop": ["END"],
        "tools": TOOLS,
        "tool_choice": "required",
        "parallel_tool_calls": False,
    },
    (
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "user", "content": [{"type": "text", "text": "see"}]},
        {"role": "assistant", "content": "Rain."},
    ),
)


def told(deltas: list[Delta]) -> Answer:
    """What our provider says, put together."""
    calls: dict[int, dict[str, str]] = {}
    thoughts = ""
    for piece in (delta.data for delta in deltas if delta.data is not None):
        if piece["type"] == "reasoning":
            thoughts += piece["text"]
            continue
        call = calls.setdefault(piece["index"], {"id": "", "name": "", "arguments": ""})
        for name in call:
            call[name] += piece.get(name, "")
    made = [(call["id"], call["name"], json.loads(call["arguments"])) for call in calls.values()]
    return text(deltas), thoughts, made, str(deltas[-1].finish_reason), deltas[-1].usage


async def accumulated(dialect: Dialect, url: str) -> Answer:
    """What the SDK says, put together by itself."""
    return await (_of_anthropic if dialect is ANTHROPIC else _of_openai)(url)


async def _of_anthropic(url: str) -> Answer:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client:
        asking: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        async with client.messages.stream(**asking) as events:
            message = await events.get_final_message()
    blocks: list[Any] = list(message.content)
    return (
        "".join(block.text for block in blocks if block.type == "text"),
        "".join(block.thinking for block in blocks if block.type == "thinking"),
        [(block.id, block.name, block.input) for block in blocks if block.type == "tool_use"],
        ANTHROPIC.reasons[str(message.stop_reason)],
        Usage(message.usage.input_tokens, message.usage.output_tokens),
    )


async def _of_openai(url: str) -> Answer:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        asking: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        asking["stream_options"] = {"include_usage": True}  # without it the usage is not kept
        async with client.chat.completions.stream(**asking) as events:
            completion = await events.get_final_completion()
    (choice,) = completion.choices
    calls: list[Any] = choice.message.tool_calls or []
    return (
        choice.message.content or "",
        str((choice.message.model_extra or {}).get("reasoning_content", "")),
        [(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls],
        OPENAI.reasons[choice.finish_reason],
        Usage(completion.usage.prompt_tokens, completion.usage.completion_tokens)
        if completion.usage
        else None,
    )


@pytest.mark.parametrize(
    ("dialect", "reason"),
    [
        (dialect, reason)
        for dialect in DIALECTS
        for reason in dialect.reasons
        if (dialect, reason) not in UNTOLD
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
async def test_sdk_hears_of_the_same_bytes_what_our_deltas_say(dialect: Dialect, reason: str) -> None:
    script = stream(dialect.answer("grün ", "🙂", " x", reason=reason))
    async with upstream(script) as server, closing(dialect.provider(server.url)) as model:
        ours, theirs = told(await said(model)), await accumulated(dialect, server.url)
    assert ours == theirs
    assert ours[0] == "grün 🙂 x"
    assert ours[4] == Usage(11, 7)


def _anthropic_block(
    index: int, content: dict[str, Any], *deltas: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    yield {"type": "content_block_start", "index": index, "content_block": content}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def _use(id: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "weather", "input": {}}


def _json(part: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": part}


def _fragment(index: int, arguments: str, **first: Any) -> dict[str, Any]:
    function = {"name": "weather", "arguments": arguments} if first else {"arguments": arguments}
    return {
        "choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, **first, "function": function}]}}]
    }


_ANTHROPIC_VERSION = anthropic.Anthropic(api_key="none").default_headers["anthropic-version"]
"""The one that this SDK speaks. It knows no sampling any more, so that is not asked of it."""

_THINKING: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}
_MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": []}
_HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}

RICH = {
    "anthropic": named(
        [
            {
                "type": "message_start",
                "message": _MESSAGE | {"usage": {"input_tokens": 11, "output_tokens": 1}},
            },
            *_anthropic_block(
                0,
                _THINKING,
                {"type": "thinking_delta", "thinking": "hm"},
                {"type": "thinking_delta", "thinking": ", well"},
                {"type": "signature_delta", "signature": "s"},
            ),
            {"type": "ping"},
            *_anthropic_block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "I look."}),
            *_anthropic_block(2, _use("a"), _json(""), _json('{"city": "Gr'), _json('az"}')),
            *_anthropic_block(3, _use("b")),
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
            {"type": "message_stop"},
        ]
    ),
    "openai": data(
        *(
            _HEAD | chunk
            for chunk in (
                {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]},
                {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]},
                {"choices": [{"index": 0, "delta": {"reasoning_content": ", well"}}]},
                {"choices": [{"index": 0, "delta": {"content": "I look."}}]},
                _fragment(0, "", id="a", type="function"),
                _fragment(0, '{"city": "Gr'),
                _fragment(0, 'az"}'),
                _fragment(1, "{}", id="b", type="function"),
                {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
                {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}},
            )
        ),
        "[DONE]",
    ),
}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_thoughts_text_and_tool_calls_of_one_answer_are_what_the_sdk_hears(dialect: Dialect) -> None:
    async with (
        upstream(stream(RICH[dialect.name])) as server,
        closing(dialect.provider(server.url)) as model,
    ):
        ours, theirs = told(await said(model)), await accumulated(dialect, server.url)
    assert ours == theirs
    calls = [("a", "weather", {"city": "Graz"}), ("b", "weather", {})]
    assert ours == ("I look.", "hm, well", calls, "tool_calls", Usage(11, 7))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_what_we_ask_is_what_the_sdk_types_and_what_it_would_send(dialect: Dialect) -> None:
    async with (
        upstream(stream(dialect.answer("x"))) as server,
        closing(dialect.provider(server.url, api_version=_ANTHROPIC_VERSION)) as model,
    ):
        await said(model, PROMPT)
        body = server.asked[0].body
        if dialect is ANTHROPIC:
            await _ask_anthropic(server.url, body)
        else:
            await _ask_openai(server.url, body)
        ours, theirs = server.asked
    assert theirs.line == ours.line
    assert theirs.body == ours.body
    assert _named(theirs) == _named(ours)
    params: Any = MessageCreateParamsStreaming if dialect is ANTHROPIC else CompletionCreateParamsStreaming
    assert _whole(TypeAdapter(params).validate_python(body)) == body, "a key that the SDK's types do not know"


async def _ask_anthropic(url: str, body: dict[str, Any]) -> None:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="sk-hunter2-Zq", max_retries=0) as client:
        async for _ in await client.messages.create(**body):
            pass


async def _ask_openai(url: str, body: dict[str, Any]) -> None:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-hunter2-Zq", max_retries=0) as client:
        async for _ in await client.chat.completions.create(**body):
            pass


def _named(asked: Asked) -> dict[str, str | None]:
    """The headers that decide."""
    names = ("authorization", "x-api-key", "anthropic-version", "content-type")
    return {name: asked.headers.get(name) for name in names}


def _whole(value: Any) -> Any:
    """pydantic looks into an Iterable only when it is read."""
    if isinstance(value, str | bytes) or value is None:
        return value
    if isinstance(value, Mapping):
        return {name: _whole(each) for name, each in value.items()}
    return [_whole(each) for each in value] if hasattr(value, "__iter__") else value
