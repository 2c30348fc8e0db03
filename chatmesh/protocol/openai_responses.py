"""OpenAI's responses as a projection of an answer: pure.

In: chunks of a message, as the transcript has them. Out: the events of a response, or the response as an object.
https://platform.openai.com/docs/api-reference/responses-streaming

Every event's `sequence_number` follows from the transcript alone, so that "starting after N" means the same at any pod:
0, 1, 2 … as long as nothing was taken back. Where a new attempt had to begin anew, its response begins anew as well, with
`response.created`, at the next multiple of `ATTEMPT`: larger than every number that was told before, so that whoever
comes back with one of those gets all of the new attempt and nothing of the old.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from chatmesh.protocol import sse
from chatmesh.protocol.estimates import tokens_of
from chatmesh.protocol.openai_chat import delta_of, finish_reason_of, usage
from chatmesh.protocol.openai_items import MESSAGE, REASONING, FunctionCall, Kind, Said, Text
from chatmesh.protocol.timestamps import unix_seconds

ATTEMPT = 1_000_000_000
"""No answer has so many events, and nine million attempts still fit JavaScript's integers."""

_ENDS = {
    "length": ("incomplete", "max_output_tokens"),
    "content_filter": ("incomplete", "content_filter"),
    "cancelled": ("cancelled", None),
    "error": ("failed", None),
}
"""Finish reason → status, and why it is incomplete. All others have completed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a response tells of its request. `created_at` in Unix seconds; `context` is what the transcript keeps of the
    request's."""

    id: str
    created_at: int
    model: str
    message: str
    context: dict[str, Any] = field(default_factory=dict)

    @property
    def is_stored(self) -> bool:
        """False: who asked does not want to come back to it."""
        return self.context.get("store") is not False

    @classmethod
    def of(cls, id: str, asked: dict[str, Any], *, default_model: str) -> Asked:
        """From the transcript's account of a request; see `records.asked`."""
        return cls(
            id,
            unix_seconds(asked.get("timestamp")),
            asked.get("model") or default_model,
            asked.get("message", ""),
            asked.get("context") or {},
        )


class Response:
    """One answer, as far as its chunks have come."""

    def __init__(self, asked: Asked, *, resets: int) -> None:
        self._asked = asked
        self._number = resets * ATTEMPT
        self._output: list[Text | FunctionCall] = []
        self._calls: dict[int, FunctionCall] = {}
        self._final: dict[str, Any] | None = None
        self.status = "in_progress"

    def open(self) -> Iterator[dict[str, Any]]:
        yield self._event("response.created", {"response": self.wire()})
        yield self._event("response.in_progress", {"response": self.wire()})

    def take(self, chunk: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The next chunk's events; those of the final one end the response."""
        delta = delta_of(chunk)
        if text := delta.get("content"):
            yield from self._say(MESSAGE, text)
        if thought := delta.get("reasoning_content"):
            yield from self._say(REASONING, thought)
        for fragment in delta.get("tool_calls", ()):
            yield from self._call(fragment)
        if chunk.get("is_final") is True:
            yield from self._end(chunk)

    def wire(self) -> dict[str, Any]:
        """The response as an object. Instructions and tools are not kept with an answer, so they are not told."""
        context, why = self._asked.context, _ENDS.get(finish_reason_of(self._final or {}), ("", None))[1]
        return {
            "id": self._asked.id,
            "object": "response",
            "created_at": self._asked.created_at,
            "status": self.status,
            "background": bool(context.get("background")),
            "completed_at": unix_seconds((self._final or {}).get("timestamp")) if self._is_whole else None,
            "error": _error(self._final),
            "incomplete_details": {"reason": why} if why else None,
            "instructions": None,
            "max_output_tokens": context.get("max_tokens"),
            "metadata": _object(context, "metadata"),
            "model": self._asked.model,
            "output": [item.wire() for item in self._output],
            "parallel_tool_calls": True,
            "previous_response_id": context.get("previous_response_id"),
            "reasoning": {"effort": None, "summary": None},
            "store": self._asked.is_stored,
            "temperature": context.get("temperature"),
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": context.get("top_p"),
            "truncation": "disabled",
            "usage": _usage(self._final, self._asked) if self._final is not None else None,
            "user": None,
        }

    @property
    def _is_whole(self) -> bool:
        return self.status == "completed"

    def _say(self, kind: Kind, text: str) -> Iterator[dict[str, Any]]:
        last = self._output[-1] if self._output else None
        if not isinstance(last, Text) or last.kind is not kind or last.status != "in_progress":
            yield from self._close()
            last = Text(kind, self._id(kind.prefix), len(self._output))
            yield from self._open(last)
        yield self._event(*last.add(text))

    def _call(self, fragment: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A piece of a call. Calls may be streamed side by side, so they stay open together."""
        call = self._calls.get(fragment["index"])
        if call is None:
            if not self._calls:
                yield from self._close()
            call = FunctionCall(fragment, self._id("fc"), len(self._output))
            self._calls[fragment["index"]] = call
            yield from self._open(call)
        if arguments := fragment["function"].get("arguments"):
            yield self._event(*call.add(arguments))

    def _open(self, item: Text | FunctionCall) -> Iterator[dict[str, Any]]:
        self._output.append(item)
        yield from self._events(item.opened())

    def _close(self, status: str = "completed") -> Iterator[dict[str, Any]]:
        for item in self._output:
            if item.status == "in_progress":
                yield from self._events(item.closed(status))
        self._calls.clear()

    def _end(self, final: dict[str, Any]) -> Iterator[dict[str, Any]]:
        status, _ = _ENDS.get(finish_reason_of(final), ("completed", None))
        yield from self._close("completed" if status == "completed" else "incomplete")
        self._final, self.status = final, status
        yield self._event(f"response.{status}", {"response": self.wire()})

    def _id(self, prefix: str) -> str:
        """Of an item: by the number of the event that adds it, so that no attempt's item has another one's id."""
        return f"{prefix}_{self._number}_{self._asked.id}"

    def _events(self, said: Iterable[Said]) -> Iterator[dict[str, Any]]:
        for name, what in said:
            yield self._event(name, what)

    def _event(self, name: str, what: dict[str, Any]) -> dict[str, Any]:
        event = {"type": name, "sequence_number": self._number, **what}
        self._number += 1
        return event


class ResponseStream:
    """The events of one response, without those up to the number `starting_after`."""

    def __init__(self, asked: Asked, *, resets: int, starting_after: int = -1) -> None:
        self._response = Response(asked, resets=resets)
        self._starting_after = starting_after

    def opening(self) -> bytes:
        return self._encode(self._response.open())

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        return self._encode(self._response.take(chunk))

    def _encode(self, events: Iterable[dict[str, Any]]) -> bytes:
        return b"".join(
            [
                b"event: %b\n%b" % (event["type"].encode(), sse.chunk(orjson.dumps(event)))
                for event in events
                if event["sequence_number"] > self._starting_after
            ]
        )


def response(
    asked: Asked, chunks: Iterable[dict[str, Any]], *, resets: int, has_begun: bool = True
) -> dict[str, Any]:
    """The response as far as its chunks go. `has_begun`: a worker has it."""
    told = Response(asked, resets=resets)
    for _ in told.open():
        pass
    for chunk in chunks:
        for _ in told.take(chunk):
            pass
    if not has_begun:
        told.status = "queued"
    return told.wire()


def _error(final: dict[str, Any] | None) -> dict[str, Any] | None:
    """`code` is one that SDKs know; ours is the `type`."""
    error = (final or {}).get("error")
    if not isinstance(error, dict):
        return None
    return {
        "code": "server_error",
        "message": str(error.get("message", "")),
        "type": str(error.get("code", "")),
    }


def _usage(final: dict[str, Any], asked: Asked) -> dict[str, Any]:
    counted = usage(final, tokens_of(asked.message))
    read = _object(counted, "prompt_tokens_details")
    written = _object(counted, "completion_tokens_details")
    return {
        "input_tokens": counted.get("prompt_tokens", 0),
        "input_tokens_details": {"cached_tokens": read.get("cached_tokens") or 0},
        "output_tokens": counted.get("completion_tokens", 0),
        "output_tokens_details": {"reasoning_tokens": written.get("reasoning_tokens") or 0},
        "total_tokens": counted.get("total_tokens", 0),
    }


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    return value if isinstance(value, dict) else {}
