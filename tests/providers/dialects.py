"""What each provider's server says for the same answer, so that one suite holds for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from chatmesh.providers import Provider
from chatmesh.providers.anthropic import Anthropic
from chatmesh.providers.base import Continuation
from chatmesh.providers.openai import Openai
from chatmesh.providers.settings import Settings
from tests.providers.upstreams import data, named

SETTINGS = Settings(
    "m",
    "",
    "upstream-name",
    4,
    api_key="sk-hunter2-Zq",
    api_version="2023-06-01",
    connect_seconds=5,
    first_token_seconds=60,
    idle_seconds=60,
    total_seconds=120,
    retries=2,
)


@dataclass(frozen=True)
class Dialect:
    """`begin` opens an answer, `say` is one piece of its text, `finish` ends it in order."""

    name: str
    make: Callable[[Settings], Provider]
    path: str
    begin: bytes
    say: Callable[[str], bytes]
    finish: Callable[[str], bytes]
    error: Callable[[str, str], bytes]
    reasons: dict[str, str]

    def provider(self, url: str, **changes: Any) -> Provider:
        base = f"{url}/v1" if self.name == "openai" else url
        return self.make(replace(SETTINGS, base_url=base, **changes))

    def answer(self, *texts: str, reason: str = "") -> bytes:
        """A whole one with these pieces of text."""
        said = b"".join(self.say(text) for text in texts)
        return self.begin + said + self.finish(reason or next(iter(self.reasons)))


def _openai_chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        "usage": None,
    }


def _anthropic_text(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


OPENAI = Dialect(
    "openai",
    Openai,
    "/v1/chat/completions",
    data(_openai_chunk({"role": "assistant", "content": None})),
    lambda text: data(_openai_chunk({"content": text})),
    lambda reason: data(
        _openai_chunk({}, reason),
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        },
        "[DONE]",
    ),
    lambda kind, message: data({"error": {"type": kind, "message": message}}),
    {
        "stop": "stop",
        "length": "length",
        "tool_calls": "tool_calls",
        "function_call": "tool_calls",
        "content_filter": "content_filter",
    },
)

ANTHROPIC = Dialect(
    "anthropic",
    Anthropic,
    "/v1/messages",
    named(
        [
            {
                "type": "message_start",
                "message": {
                    "id": "m",
                    "type": "message",
                    "role": "assistant",
                    "model": "upstream-name",
                    "content": [],
                    "stop_reason": None,
                    "stop_sequence": None,
                    "usage": {"input_tokens": 11, "output_tokens": 1},
                },
            },
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
        ]
    ),
    lambda text: named([_anthropic_text(text)]),
    lambda reason: named(
        [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 7}},
            {"type": "message_stop"},
        ]
    ),
    lambda kind, message: named([{"type": "error", "error": {"type": kind, "message": message}}]),
    {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "tool_use": "tool_calls",
        "refusal": "content_filter",
    },
)

DIALECTS = [OPENAI, ANTHROPIC]
CONTINUATIONS = list(Continuation)
