"""A message's events become its answer: pure.

In: the events of one message from its beginning, each once and in order, as a Reader gives them. Out: pieces to show, and
in the end what was said, why it ended, and whether the text is whole by its digest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from chatmesh.client.events import Event
from chatmesh.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class Said:
    """The next text."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """The next text of its reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """A tool that it wants to be called, whole."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class BegunAnew:
    """What was shown so far does not count any more."""

    reason: str


Piece = Said | Thought | Called | BegunAnew


class Answer:
    """Of one message. `finish_reason` is None until its final chunk has come, `metadata` is that chunk's."""

    def __init__(self, session_id: str, message_id: str) -> None:
        self.session_id = session_id
        self.message_id = message_id
        self.metadata: dict[str, Any] = {}
        self.finish_reason: str | None = None
        self.error: dict[str, Any] | None = None
        self.is_erased = False
        self.chunks = 0
        """Content chunks with text that count."""
        self.next_chunk = 0
        """The id of the chunk that is to come."""
        self._said: list[str] = []
        self._digest = hashlib.sha256()
        self._calls: dict[int, tuple[str, str]] = {}

    def take(self, event: Event) -> list[Piece]:
        """What it adds. Raises ProtocolError where it is none that a pod sends."""
        if event.name == "reset":
            return self._on_reset(_object(event.data))
        return self._on_chunk(_object(event.data)) if event.name == "message" else []

    @property
    def text(self) -> str:
        return "".join(self._said)

    @property
    def is_over(self) -> bool:
        return self.finish_reason is not None or self.is_erased

    @property
    def digest(self) -> str:
        """Of the text as it came."""
        return f"sha256:{self._digest.hexdigest()}"

    @property
    def is_whole(self) -> bool:
        """Whether it has ended, and its text is what its writer says it is; one that says nothing is believed."""
        told = self.metadata.get("digest")
        return self.finish_reason is not None and (told is None or told == self.digest)

    @property
    def tokens(self) -> int:
        """As its provider counts them, else as its worker does, else the chunks."""
        usage = self.metadata.get("usage")
        told = usage.get("completion_tokens") if isinstance(usage, dict) else None
        told = self.metadata.get("tokens_used") if told is None else told
        return told if isinstance(told, int) else self.chunks

    def _on_reset(self, body: dict[str, Any]) -> list[Piece]:
        if body.get("message_id") not in (None, self.message_id):
            return []
        reason = str(body.get("reason", ""))
        self.is_erased = reason == "session_erased"
        self._said.clear()
        self._calls.clear()
        self._digest = hashlib.sha256()
        self.chunks = 0
        return [BegunAnew(reason)]

    def _on_chunk(self, chunk: dict[str, Any]) -> list[Piece]:
        if chunk.get("message_id") != self.message_id:
            return []
        number, text = chunk.get("chunk_id"), str(chunk.get("chunk", ""))
        self.next_chunk = number + 1 if isinstance(number, int) else self.next_chunk
        pieces: list[Piece] = []
        if chunk.get("chunk_type") == "metadata":
            pieces = self._on_structure(text)
        elif chunk.get("chunk_type") == "content" and text:
            self._said.append(text)
            self._digest.update(text.encode())
            self.chunks += 1
            pieces = [*self._take_calls(), Said(text)]
        return [*pieces, *self._on_final(chunk)] if chunk.get("is_final") is True else pieces

    def _on_structure(self, text: str) -> list[Piece]:
        """Fragments of tool calls are kept until they are whole, which only what follows says."""
        data = _object(text)
        if data.get("type") == "reasoning":
            return [Thought(str(data.get("text", "")))]
        if data.get("type") != "tool_call":
            return []
        at = data.get("index")
        index = at if isinstance(at, int) else 0
        name, arguments = self._calls.get(index, ("", ""))
        self._calls[index] = (
            name + str(data.get("name") or ""),
            arguments + str(data.get("arguments") or ""),
        )
        return []

    def _on_final(self, chunk: dict[str, Any]) -> list[Piece]:
        metadata, error = chunk.get("metadata"), chunk.get("error")
        self.metadata = metadata if isinstance(metadata, dict) else {}
        self.error = error if isinstance(error, dict) else None
        ended = "error" if self.error or chunk.get("chunk_type") == "error" else "stop"
        self.finish_reason = str(self.metadata.get("finish_reason") or ended)
        return self._take_calls()

    def _take_calls(self) -> list[Piece]:
        calls: list[Piece] = [Called(name, arguments) for name, arguments in self._calls.values()]
        self._calls.clear()
        return calls


def _object(text: str) -> dict[str, Any]:
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"an event is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise ProtocolError(f"an event is a JSON object, not a {type(body).__name__}")
    return body
