"""The events of Anthropic's Messages API become deltas: pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import orjson

from chatmesh.protocol.jsontext import decode_object
from chatmesh.providers.answer import Answer, count
from chatmesh.providers.base import Delta, Usage
from chatmesh.providers.faults import of_object
from chatmesh.providers.seam import Seam
from chatmesh.providers.splitter import Event


class AnthropicAnswer(Answer):
    """Text, thinking and tool use; blocks and events of other kinds are passed over, as the API asks its clients to."""

    finish_reasons: ClassVar = {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "tool_use": "tool_calls",
        "refusal": "content_filter",
    }

    def __init__(self, seam: Seam | None = None) -> None:
        super().__init__(seam)
        self._counted: dict[str, int] = {}
        # Of the block under way: the tool call's number, and what it was given at once instead of in pieces.
        self._call: int | None = None
        self._input: Any = None

    def read(self, event: Event) -> Iterator[Delta]:
        body = decode_object(event.data, "an event")
        match body.get("type"):
            case "error":
                raise of_object(body)
            case "message_start":
                message = body.get("message")
                self._count(message.get("usage") if isinstance(message, dict) else None)
            case "content_block_start":
                yield from self._begin(_object(body, "content_block"))
            case "content_block_delta":
                yield from self._said(_object(body, "delta"))
            case "content_block_stop":
                yield from self._end_block()
            case "message_delta":
                self._count(body.get("usage"))
                self.finish(_object(body, "delta").get("stop_reason"))
            case "message_stop":
                self.is_over = True

    def _begin(self, block: dict[str, Any]) -> Iterator[Delta]:
        self._call, self._input = None, None
        match block.get("type"):
            case "text":
                yield from self.text(block.get("text"))
            case "thinking":
                yield from self.reasoning(block.get("thinking"))
            case "tool_use":
                self._call, self._input = self.calls, block.get("input") or {}
                yield from self.tool_call(self._call, id=block.get("id"), name=block.get("name"))

    def _said(self, delta: dict[str, Any]) -> Iterator[Delta]:
        match delta.get("type"):
            case "text_delta":
                yield from self.text(delta.get("text"))
            case "thinking_delta":
                yield from self.reasoning(delta.get("thinking"))
            case "input_json_delta" if self._call is not None and delta.get("partial_json"):
                self._input = None
                yield from self.tool_call(self._call, arguments=delta["partial_json"])

    def _end_block(self) -> Iterator[Delta]:
        """A call that came without pieces, such as one without arguments, still needs its JSON."""
        if self._call is not None and self._input is not None:
            yield from self.tool_call(self._call, arguments=orjson.dumps(self._input).decode())
        self._call, self._input = None, None

    def _count(self, usage: Any) -> None:
        """Numbers are totals so far. Cached tokens are counted beside `input_tokens` there and within it here."""
        if not isinstance(usage, dict):
            return
        self._counted |= {name: count(value) for name, value in usage.items() if isinstance(value, int)}
        read = self._counted.get("cache_read_input_tokens", 0)
        written = self._counted.get("cache_creation_input_tokens", 0)
        more = {"cached_tokens": read, "cache_write_tokens": written}
        self.usage = Usage(
            self._counted.get("input_tokens", 0) + read + written,
            self._counted.get("output_tokens", 0),
            {name: value for name, value in more.items() if value},
        )


def _object(body: dict[str, Any], key: str) -> dict[str, Any]:
    value = body.get(key)
    return value if isinstance(value, dict) else {}
