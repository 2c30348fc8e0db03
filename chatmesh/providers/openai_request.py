"""A prompt becomes the body of a chat completion: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatmesh.providers.base import Continuation, Message, Prompt

PASSED_ON = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "reasoning_effort",
    "verbosity",
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
)
"""Keys of a request's context that go to the server as they are."""

TUNING = (
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    *(
        key
        for key in PASSED_ON
        if key not in ("stop", "response_format", "tools", "tool_choice", "max_tokens")
    ),
)
"""What only tunes the answer: where a server refuses it, the request is made without."""

GO_ON = (
    "Your last message was cut off by a technical fault. Continue it from exactly where it ended, with the very next "
    "character. Do not repeat any of it, do not begin anew, and do not comment on this."
)
"""The turn behind a half answer, where the server can't be given it as the beginning of its own."""


def messages_of(prompt: Prompt, shown: str, continuation: Continuation) -> list[Message]:
    """The conversation, without the system prompt; `shown` is what was told of the answer, and may be empty."""
    messages = list(prompt.history)
    if prompt.message:  # none where the history ends with what a tool has answered
        messages.append({"role": "user", "content": prompt.message})
    if shown:
        messages.append({"role": "assistant", "content": shown})
        if continuation is not Continuation.EXACT:
            messages.append({"role": "user", "content": GO_ON})
    return messages


def body_of(
    prompt: Prompt, shown: str, *, model: str, continuation: Continuation, max_tokens: int | None
) -> dict[str, Any]:
    """`max_tokens` is for a request that names none."""
    system: list[Message] = [{"role": "system", "content": prompt.system}] if prompt.system else []
    body: dict[str, Any] = {
        "model": model,
        "messages": system + messages_of(prompt, shown, continuation),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    body |= passed_on(prompt.context, PASSED_ON)
    if max_tokens is not None and "max_completion_tokens" not in body:
        body.setdefault("max_tokens", max_tokens)
    if shown and continuation is Continuation.EXACT:
        # vLLM and SGLang ask for it; llama.cpp goes on behind a trailing assistant message by itself.
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


def passed_on(context: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """What the request says under these keys; null is as good as nothing."""
    return {key: context[key] for key in keys if context.get(key) is not None}
