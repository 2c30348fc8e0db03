"""OpenAI's chat completions as a projection of an answer: pure.

In: chunks of a message, as the transcript has them. Out: `chat.completion.chunk` events, or one `chat.completion`.
https://platform.openai.com/docs/api-reference/chat

Nothing of the format can take text back, so what a `reset` makes void must not reach the encoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from chatmesh.errors import ProtocolError
from chatmesh.protocol import jsontext, sse
from chatmesh.protocol.chunks import metadata_of

DONE = b"data: [DONE]\n\n"

_FINISH = {
    "cancelled": "stop",  # the format knows no better word for an answer that somebody stopped
}

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


def error_body(message: str, code: str, *, status: int = 500, param: str | None = None) -> dict[str, Any]:
    """What SDKs show to people."""
    kind = ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


class ChatStream:
    """The events of one answer. `created` in Unix seconds; `model` as it was asked for."""

    def __init__(self, id: str, model: str, created: int, *, has_usage: bool, prompt_tokens: int) -> None:
        self._head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._has_usage = has_usage
        self._prompt_tokens = prompt_tokens

    def opening(self) -> bytes:
        """The first delta: who speaks."""
        return self._choice({"role": "assistant", "content": ""}, None)

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        """One chunk's events; the final one's end the stream."""
        if chunk.get("is_final") is True:
            return self._end(chunk)
        delta = delta_of(chunk)
        return self._choice(delta, None) if delta else b""

    def _end(self, chunk: dict[str, Any]) -> bytes:
        error = chunk.get("error")
        if isinstance(error, dict):
            body = error_body(str(error.get("message", "")), str(error.get("code", "")))
            return _event(body) + DONE
        # Ours are empty; somebody else's worker may say its last words in it.
        delta = delta_of(chunk) if chunk.get("chunk") else {}
        parts = [self._choice(delta, None)] if delta else []
        parts.append(self._choice({}, finish_reason(chunk)))
        if self._has_usage:
            parts.append(_event(self._head | {"choices": [], "usage": usage(chunk, self._prompt_tokens)}))
        return b"".join([*parts, DONE])

    def _choice(self, delta: dict[str, Any], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        body: dict[str, Any] = self._head | {"choices": [choice]}
        if self._has_usage:
            body["usage"] = None
        return _event(body)


def completion(
    id: str, model: str, created: int, chunks: Sequence[dict[str, Any]], *, prompt_tokens: int
) -> dict[str, Any]:
    """The whole answer as one object; `chunks` end with the final one, which is no error."""
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    texts, thoughts, calls = pieces(chunks)
    if texts or not calls:
        message["content"] = "".join(texts)
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    final = chunks[-1]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(final)}
    return {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "usage": usage(final, prompt_tokens),
    }


def delta_of(chunk: dict[str, Any]) -> dict[str, Any]:
    """What a chunk adds to the message; empty for what the format does not know. Somebody else's worker may have sent it,
    so it may be anything."""
    text = str(chunk.get("chunk", ""))
    match chunk.get("chunk_type"):
        case "content":
            return {"content": text}
        case "metadata":
            try:
                return _structured(jsontext.decode_object(text, "metadata chunk"))
            except ProtocolError:
                return {}
    return {}


def finish_reason(final: dict[str, Any]) -> str:
    reason = finish_reason_of(final)
    return _FINISH.get(reason, reason)


def finish_reason_of(final: dict[str, Any]) -> str:
    """As we call it. A failure is one whatever its metadata says."""
    if isinstance(final.get("error"), dict):
        return "error"
    return str(metadata_of(final).get("finish_reason") or "stop")


def usage(final: dict[str, Any], prompt_tokens: int) -> dict[str, Any]:
    """As the model's provider counted; else the tokens that were said, and about as many as were asked."""
    metadata = metadata_of(final)
    counted = metadata.get("usage")
    if isinstance(counted, dict):
        return counted
    said = metadata.get("tokens_used")
    tokens = said if isinstance(said, int) else 0
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": tokens,
        "total_tokens": prompt_tokens + tokens,
    }


def pieces(chunks: Iterable[dict[str, Any]]) -> tuple[list[str], list[str], list[dict[str, Any]]]:
    """Text, thoughts, and whole tool calls put together from their fragments."""
    texts: list[str] = []
    thoughts: list[str] = []
    calls: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        delta = delta_of(chunk)
        texts += [delta["content"]] if delta.get("content") else []
        thoughts += [delta["reasoning_content"]] if "reasoning_content" in delta else []
        for fragment in delta.get("tool_calls", ()):
            _join(calls, fragment)
    return texts, thoughts, [calls[index] for index in sorted(calls)]


def _join(calls: dict[int, dict[str, Any]], fragment: dict[str, Any]) -> None:
    call = calls.setdefault(
        fragment["index"], {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
    )
    call["id"] = fragment.get("id") or call["id"]
    for name in ("name", "arguments"):
        call["function"][name] += fragment["function"].get(name, "")


def _structured(data: dict[str, Any]) -> dict[str, Any]:
    match data.get("type"):
        case "reasoning":
            return {"reasoning_content": str(data.get("text", ""))}
        case "tool_call":
            index = data.get("index")
            function = {name: data[name] for name in ("name", "arguments") if isinstance(data.get(name), str)}
            call: dict[str, Any] = {"index": index if isinstance(index, int) else 0, "function": function}
            if isinstance(data.get("id"), str):
                call |= {"id": data["id"], "type": "function"}
            return {"tool_calls": [call]}
    return {}


def _event(body: dict[str, Any]) -> bytes:
    return sse.chunk(orjson.dumps(body))
