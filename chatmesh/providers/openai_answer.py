"""OpenAI's chat completion chunks become deltas, with everything that other servers have made of them: pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from chatmesh.protocol.jsontext import decode_object
from chatmesh.providers.answer import Answer, count
from chatmesh.providers.base import Delta, Usage
from chatmesh.providers.faults import of_object
from chatmesh.providers.splitter import Event

DONE = "[DONE]"


class OpenaiAnswer(Answer):
    """One choice is read. Fields are taken where they are: usage beside choices or alone, role, text and finish in one
    chunk, reasoning under two names, tool calls without an index."""

    finish_reasons: ClassVar = {
        "stop": "stop",
        "length": "length",
        "tool_calls": "tool_calls",
        "function_call": "tool_calls",
        "content_filter": "content_filter",
    }

    def read(self, event: Event) -> Iterator[Delta]:
        if event.data.strip() == DONE:
            self.is_over = True
            return
        body = decode_object(event.data, "an event")
        if body.get("error") or event.name == "error" or body.get("object") == "error":
            raise of_object(body)
        if isinstance(usage := body.get("usage"), dict):
            self.usage = _usage(usage)
        choices = body.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return
        # A server that does not stream says it all at once, as a message.
        said = choice.get("delta") or choice.get("message")
        if isinstance(said, dict):
            yield from self._said(said)
        self.finish(choice.get("finish_reason"))

    def _said(self, said: dict[str, Any]) -> Iterator[Delta]:
        yield from self.reasoning(said.get("reasoning_content") or said.get("reasoning"))
        yield from self.text(said.get("content"))
        yield from self.text(said.get("refusal"))
        calls = said.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict):
                yield from self._call(call)
        if isinstance(call := said.get("function_call"), dict):
            yield from self.tool_call(0, name=call.get("name"), arguments=call.get("arguments"))

    def _call(self, call: dict[str, Any]) -> Iterator[Delta]:
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        index = call.get("index")
        if not isinstance(index, int) or not 0 <= index < 1000:
            # Without one, an id begins the next call, and anything else belongs to the last.
            index = self.calls if call.get("id") else max(0, self.calls - 1)
        yield from self.tool_call(
            index, id=call.get("id"), name=function.get("name"), arguments=function.get("arguments")
        )


def _usage(usage: dict[str, Any]) -> Usage:
    more = {}
    for outer, inner in (("prompt", "cached_tokens"), ("completion", "reasoning_tokens")):
        details = usage.get(f"{outer}_tokens_details")
        if isinstance(details, dict) and count(details.get(inner)):
            more[inner] = details[inner]
    return Usage(count(usage.get("prompt_tokens")), count(usage.get("completion_tokens")), more)
