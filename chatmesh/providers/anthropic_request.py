"""A prompt becomes the body of a request to Anthropic's Messages API: pure.

Prompts speak OpenAI's words (roles `system` and `tool`, `tools` with `function`, `stop`); here they become Anthropic's.
What has no counterpart there is dropped and named.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chatmesh.errors import ProviderError
from chatmesh.protocol.jsontext import decode_object
from chatmesh.providers.base import Continuation, Message, Prompt
from chatmesh.providers.openai_request import PASSED_ON as OPENAI_KEYS
from chatmesh.providers.openai_request import messages_of, passed_on

OLD_VERSION = "2023-06-01"

SAMPLING = ("temperature", "top_p", "top_k")
"""Versions after the old one answer 400 to them."""

PASSED_ON = (*SAMPLING, "max_tokens", "thinking")

TRANSLATED = ("max_completion_tokens", "stop", "tools", "tool_choice", "parallel_tool_calls")

DEFAULT_MAX_TOKENS = 4096
"""The API wants a number. This one fits every Claude model."""


def body_of(
    prompt: Prompt,
    shown: str,
    *,
    model: str,
    continuation: Continuation,
    max_tokens: int | None,
    api_version: str,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body, and the names of what was dropped."""
    context = prompt.context
    messages = messages_of(prompt, shown, continuation)
    system = [_text(message.get("content")) for message in messages if _is_system(message)]
    body: dict[str, Any] = {
        "model": model,
        "messages": _messages(message for message in messages if not _is_system(message)),
        "max_tokens": context.get("max_completion_tokens") or max_tokens or DEFAULT_MAX_TOKENS,
        "stream": True,
    }
    if instructions := "\n\n".join([*([prompt.system] if prompt.system else []), *filter(None, system)]):
        body["system"] = instructions
    body |= passed_on(context, PASSED_ON)
    if stop := context.get("stop"):
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    body |= _tools(context)
    unknown = [key for key in passed_on(context, OPENAI_KEYS) if key not in (*PASSED_ON, *TRANSLATED)]
    if api_version > OLD_VERSION:
        unknown += [key for key in SAMPLING if body.pop(key, None) is not None]
    return body, tuple(unknown)


def _is_system(message: Message) -> bool:
    return message.get("role") in ("system", "developer")


def _messages(messages: Iterable[Message]) -> list[Message]:
    """What tools have answered belongs into one message of the user."""
    out: list[Message] = []
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role == "tool":
            result = {
                "type": "tool_result",
                "tool_use_id": message.get("tool_call_id"),
                "content": _text(content),
            }
            if not (out and out[-1].get("role") == "user" and _has_results(out[-1])):
                out.append({"role": "user", "content": []})
            out[-1]["content"].append(result)
        elif role == "assistant" and message.get("tool_calls"):
            out.append({"role": "assistant", "content": [*_blocks(content), *_uses(message["tool_calls"])]})
        else:
            blocks = content if isinstance(content, str) else _blocks(content)
            out.append({"role": "assistant" if role == "assistant" else "user", "content": blocks})
    return out


def _has_results(message: Message) -> bool:
    content = message["content"]
    return isinstance(content, list) and all(block.get("type") == "tool_result" for block in content)


def _blocks(content: Any) -> list[dict[str, Any]]:
    """OpenAI's parts as blocks."""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [_block(part) for part in parts or () if isinstance(part, dict) and part.get("text") != ""]


def _block(part: dict[str, Any]) -> dict[str, Any]:
    image = part.get("image_url")
    if part.get("type") != "image_url":
        return part
    url = str(image.get("url") if isinstance(image, dict) else image)
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    kind, _, data = url.removeprefix("data:").partition(";base64,")
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def _uses(calls: Any) -> list[dict[str, Any]]:
    uses = []
    for call in _objects(calls, "tool_calls"):
        function = _objects([call.get("function")], "tool_calls[].function")[0]
        # decode_object's ProtocolError says what is wrong with it; an empty text stands for no arguments.
        arguments = decode_object(function.get("arguments") or "{}", "a tool call's arguments in the history")
        uses.append(
            {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": arguments}
        )
    return uses


def _tools(context: dict[str, Any]) -> dict[str, Any]:
    tools = []
    for tool in _objects(context.get("tools") or [], "tools"):
        function = tool.get("function")
        if not isinstance(function, dict):
            tools.append(tool)  # Anthropic's own shape, and its server's tools
            continue
        schema = function.get("parameters") or {"type": "object", "properties": {}}
        named = {"name": function.get("name"), "input_schema": schema}
        if function.get("description"):
            named["description"] = function["description"]
        tools.append(named)
    body: dict[str, Any] = {"tools": tools} if tools else {}
    if tools and (choice := _choice(context)) is not None:
        body["tool_choice"] = choice
    return body


def _choice(context: dict[str, Any]) -> dict[str, Any] | None:
    asked = context.get("tool_choice")
    words = {"auto": "auto", "none": "none", "required": "any"}
    choice: dict[str, Any] | None = None
    if isinstance(asked, str):
        choice = {"type": words.get(asked, asked)}
    elif isinstance(asked, dict):
        function = asked.get("function")
        choice = {"type": "tool", "name": function.get("name")} if isinstance(function, dict) else asked
    if context.get("parallel_tool_calls") is False:
        choice = (choice or {"type": "auto"}) | {"disable_parallel_tool_use": True}
    return choice


def _objects(value: Any, what: str) -> list[dict[str, Any]]:
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    raise ProviderError(
        f"expected {what} as OpenAI's chat completions have them, a list of objects, got something else",
        code="provider_refused",
    )
