"""What comes on an event stream, as types for `/openapi.json`. The bytes are made by `protocol.sse`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, Json
from typing_extensions import TypedDict


class ChunkError(TypedDict):
    code: str
    message: str


class Chunk(TypedDict):
    """A piece of an answer."""

    session_id: str
    message_id: str
    chunk_id: Annotated[int, Field(ge=0, description="Counts from 0 within a message.")]
    chunk: str
    chunk_type: Literal["content", "metadata", "error", "system"]
    is_final: Annotated[
        bool, Field(description="True once, at the end: `metadata.finish_reason` says how it ended.")
    ]
    metadata: dict[str, Any]
    error: NotRequired[ChunkError]
    timestamp: str
    correlation_id: str


class Event(TypedDict, total=False):
    """One server-sent event. Chunks come without a name, which clients call `message`."""

    event: Annotated[
        Literal["message", "reset", "drain", "position"],
        Field(
            description="reset: drop what is shown of the message it names, or all. drain: come back at once. position: of "
            "the opening block once more, for a browser that forgets it."
        ),
    ]
    id: Annotated[str, Field(description="The position behind this event: what `Last-Event-ID` takes.")]
    data: Annotated[Json[Chunk | dict[str, Any]], Field(description="A chunk, or what the named event says.")]
    retry: int
