"""The Vercel AI SDK's UI message stream as a projection of an answer: pure.

In: chunks of a message, as the transcript has them. Out: the parts of one assistant's message.
https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol

The format has no positions: who comes back gets the message from its `start`, with the same id, and replaces what it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from chatmesh.errors import ProtocolError
from chatmesh.protocol import jsontext, sse
from chatmesh.protocol.openai_chat import DONE, delta_of, finish_reason_of
from chatmesh.protocol.tokens import Token

HEADERS = {"x-vercel-ai-ui-message-stream": "v1"}

_FINISH = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content-filter",
    "tool_calls": "tool-calls",
}

Part = dict[str, Any]


def assistant_id(message_id: Token) -> str:
    """Of the message that answers `message_id`, which is the user's."""
    return f"answer_{message_id}"


class MessageStream:
    """The parts of one answer. An unknown `type` is fatal to clients, so there are no others."""

    def __init__(self, message_id: Token) -> None:
        self._id = assistant_id(message_id)
        self._text: tuple[str, str] | None = None
        """The open part of text: its kind, `text` or `reasoning`, and its id."""
        self._texts = 0
        self._calls: dict[int, _Call] = {}

    def opening(self) -> bytes:
        return _encode(iter([{"type": "start", "messageId": self._id}, {"type": "start-step"}]))

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        """One chunk's parts; the final one's end the stream."""
        if chunk.get("is_final") is not True:
            return _encode(self._add(chunk))
        return _encode(self._add(chunk)) + _encode(self._end(chunk)) + DONE

    def _add(self, chunk: dict[str, Any]) -> Iterator[Part]:
        delta = delta_of(chunk)
        if text := delta.get("content"):
            yield from self._say("text", text)
        if thought := delta.get("reasoning_content"):
            yield from self._say("reasoning", thought)
        for fragment in delta.get("tool_calls", ()):
            yield from self._call(fragment)

    def _say(self, kind: str, text: str) -> Iterator[Part]:
        if self._text is None or self._text[0] != kind:
            yield from self._close()
            self._texts += 1
            self._text = (kind, f"{kind}-{self._texts}")
            yield {"type": f"{kind}-start", "id": self._text[1]}
        yield {"type": f"{kind}-delta", "id": self._text[1], "delta": text}

    def _call(self, fragment: dict[str, Any]) -> Iterator[Part]:
        """A piece of a call. Calls may be streamed side by side."""
        index, function = fragment["index"], fragment["function"]
        call = self._calls.get(index)
        if call is None:
            if not self._calls:
                yield from self._close()
            call = self._calls[index] = _Call(fragment.get("id") or f"call-{index}", function.get("name", ""))
            yield {"type": "tool-input-start", "toolCallId": call.id, "toolName": call.name}
        if arguments := function.get("arguments"):
            call.arguments += arguments
            yield {"type": "tool-input-delta", "toolCallId": call.id, "inputTextDelta": arguments}

    def _close(self) -> Iterator[Part]:
        if self._text is not None:
            kind, id = self._text
            self._text = None
            yield {"type": f"{kind}-end", "id": id}
        for call in self._calls.values():
            yield call.whole()
        self._calls.clear()

    def _end(self, final: dict[str, Any]) -> Iterator[Part]:
        reason = finish_reason_of(final)
        if reason in ("error", "cancelled"):
            # Half a call is none: a client would run the tool.
            self._calls.clear()
        yield from self._close()
        match reason:
            case "error":
                error = final.get("error")
                text = error.get("message") if isinstance(error, dict) else None
                yield {"type": "error", "errorText": str(text or "The answer failed.")}
            case "cancelled":
                yield {"type": "finish-step"}
                yield {"type": "abort"}
            case _:
                yield {"type": "finish-step"}
                yield {"type": "finish", "finishReason": _FINISH.get(reason, "other")}


class _Call:
    """A tool that the model wants to be called."""

    def __init__(self, id: str, name: str) -> None:
        self.id = id
        self.name = name
        self.arguments = ""

    def whole(self) -> Part:
        named = {"toolCallId": self.id, "toolName": self.name}
        try:
            value = jsontext.decode(self.arguments or "{}", "the arguments")
        except ProtocolError as error:
            return {"type": "tool-input-error", **named, "input": self.arguments, "errorText": error.what}
        return {"type": "tool-input-available", **named, "input": value}


def _encode(parts: Iterator[Part]) -> bytes:
    return b"".join([sse.chunk(orjson.dumps(part)) for part in parts])
