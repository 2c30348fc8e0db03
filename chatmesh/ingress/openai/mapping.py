"""What a chat completion's body is as a message of ours: pure.

Nothing that was said is lost, and nothing is said twice: the last message is the session's if it is a user's plain text;
whatever else it is (images, a tool's result) stays in the history, and the session's message is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatmesh.ingress.openai.bodies import ChatRequest
from chatmesh.protocol.estimates import tokens_of
from chatmesh.protocol.jsontext import clean_text

Said = dict[str, Any]

_NOT_FOR_THE_PROVIDER = frozenset(
    {
        "messages",
        "stream",
        "stream_options",
        "user",
        "n",
        "metadata",
        "max_completion_tokens",
        # Ours to fill: of the messages.
        "system_prompt",
        "conversation_history",
    }
)


def message_and_context(body: ChatRequest, raw: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What the user says now, and all that the model's provider is told besides."""
    system, message, history = split(raw["messages"])
    context = {
        name: value for name, value in raw.items() if value is not None and name not in _NOT_FOR_THE_PROVIDER
    }
    if body.most_tokens is not None:
        context["max_tokens"] = body.most_tokens
    if system:
        context["system_prompt"] = system
    context["conversation_history"] = history
    return clean_text(message), context


def split(messages: Sequence[Said]) -> tuple[str, str, list[Said]]:
    """System prompt, message, and what lies between; texts are empty where there are none."""
    rest = list(messages)
    if system := _plain_text(rest[0], "system", "developer"):
        rest = rest[1:]
    if message := _plain_text(rest[-1], "user") if rest else "":
        rest = rest[:-1]
    return system, message, rest


def prompt_tokens(messages: Sequence[Said]) -> int:
    """About as many as they have; images and tool calls are not counted."""
    return sum(tokens_of(_text(message.get("content"))) for message in messages)


def _plain_text(message: Said, *roles: str) -> str:
    """The whole of a message that is nothing but text, said by one of these."""
    if message["role"] not in roles or any(
        value is not None for name, value in message.items() if name not in ("role", "content")
    ):
        return ""
    content = message.get("content")
    is_plain = isinstance(content, str) or all(_is_text(part) for part in content or ())
    return _text(content) if is_plain else ""


def _text(content: str | list[Said] | None) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or () if isinstance(part.get("text"), str))


def _is_text(part: Said) -> bool:
    return part.keys() == {"type", "text"} and part["type"] == "text" and part["text"] is not None
