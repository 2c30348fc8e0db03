"""What tools have answered, as a request brings it: pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from chatmesh.errors import ProtocolError
from chatmesh.protocol.jsontext import decode_object

KEY = "tool_results"
"""Of a request's context: a list of {tool_call_id, content}."""


def brought(context: dict[str, Any]) -> list[dict[str, Any]]:
    """The request's own results; else those that its history ends with. What can't be read is left out."""
    given = context.get(KEY)
    if isinstance(given, list):
        return list(_readable(given))
    history = context.get("conversation_history")
    if not isinstance(history, list):
        return []
    at_its_end = list(
        takewhile(lambda entry: isinstance(entry, dict) and entry.get("role") == "tool", reversed(history))
    )
    return list(_readable(at_its_end[::-1]))


def are_whole(calls: list[dict[str, Any]]) -> bool:
    """Whether these calls, as chat completions have them, can be shown to a model again."""
    try:
        for call in calls:
            decode_object(call["function"]["arguments"] or "{}", "a tool call's arguments")
    except ProtocolError:
        return False
    return all(call["id"] and call["function"]["name"] for call in calls)


def _readable(entries: list[Any]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        if isinstance(entry, dict) and isinstance(id := entry.get("tool_call_id"), str):
            content = entry.get("content")
            yield {"tool_call_id": id, "content": content if isinstance(content, str | list) else ""}
