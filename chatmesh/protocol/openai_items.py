"""Output items of OpenAI's responses: what was said, thought, and called for. Pure.

Each tells its own life as events, without numbers: added, deltas, done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Said = tuple[str, dict[str, Any]]
"""An event: its type, and what it says beside type and number."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Of text: how its item, its part and its events are called. `more`: members of the item; `extra`: of the part."""

    prefix: str
    event: str
    part: str
    more: dict[str, Any]
    extra: dict[str, Any]
    logprobs: dict[str, Any]


MESSAGE = Kind(
    prefix="msg",
    event="response.output_text",
    part="output_text",
    more={"type": "message", "role": "assistant"},
    extra={"annotations": [], "logprobs": []},
    logprobs={"logprobs": []},
)
REASONING = Kind(
    prefix="rs",
    event="response.reasoning_text",
    part="reasoning_text",
    more={"type": "reasoning", "summary": []},
    extra={},
    logprobs={},
)


class Text:
    """A message of the assistant, or its reasoning: one part of text."""

    def __init__(self, kind: Kind, id: str, output_index: int) -> None:
        self.kind = kind
        self.status = "in_progress"
        self._id = id
        self._output_index = output_index
        self._texts: list[str] = []

    def opened(self) -> Iterator[Said]:
        yield "response.output_item.added", self._item([])
        yield "response.content_part.added", self._place | {"part": self._part("")}

    def add(self, text: str) -> Said:
        self._texts.append(text)
        return f"{self.kind.event}.delta", self._place | {"delta": text} | self.kind.logprobs

    def closed(self, status: str) -> Iterator[Said]:
        self.status = status
        text = "".join(self._texts)
        yield f"{self.kind.event}.done", self._place | {"text": text} | self.kind.logprobs
        yield "response.content_part.done", self._place | {"part": self._part(text)}
        yield "response.output_item.done", self._item([self._part(text)])

    def wire(self) -> dict[str, Any]:
        return self._wire([self._part("".join(self._texts))])

    def _wire(self, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self._id, **self.kind.more, "status": self.status, "content": content}

    def _item(self, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"output_index": self._output_index, "item": self._wire(content)}

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": self._output_index, "content_index": 0}

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": self.kind.part, "text": text, **self.kind.extra}


class FunctionCall:
    """A function that the model wants to be called. `call` is its first fragment, as chat completions stream it."""

    def __init__(self, call: dict[str, Any], id: str, output_index: int) -> None:
        self.status = "in_progress"
        self._id = id
        self._output_index = output_index
        self._call_id = call.get("id") or id
        self._name = call["function"].get("name", "")
        self._arguments: list[str] = []

    def opened(self) -> Iterator[Said]:
        yield "response.output_item.added", self._item()

    def add(self, arguments: str) -> Said:
        self._arguments.append(arguments)
        return "response.function_call_arguments.delta", self._place | {"delta": arguments}

    def closed(self, status: str) -> Iterator[Said]:
        self.status = status
        arguments = {"name": self._name, "arguments": "".join(self._arguments)}
        yield "response.function_call_arguments.done", self._place | arguments
        yield "response.output_item.done", self._item()

    def wire(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "function_call",
            "status": self.status,
            "call_id": self._call_id,
            "name": self._name,
            "arguments": "".join(self._arguments),
        }

    def _item(self) -> dict[str, Any]:
        return {"output_index": self._output_index, "item": self.wire()}

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": self._output_index}
