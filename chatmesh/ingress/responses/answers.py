"""Answers of `/v1/responses` as types, for `/openapi.json`. `protocol.openai_responses` makes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, Json
from typing_extensions import TypedDict


class ResponseError(TypedDict):
    code: str
    message: str
    type: str


class Incomplete(TypedDict):
    reason: Literal["max_output_tokens", "content_filter"]


class ResponseObject(TypedDict):
    """OpenAI's response: what was asked for, and the answer as far as it goes."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["queued", "in_progress", "completed", "incomplete", "cancelled", "failed"]
    error: ResponseError | None
    incomplete_details: Incomplete | None
    metadata: dict[str, Any]
    model: str
    output: list[dict[str, Any]]
    previous_response_id: str | None
    usage: dict[str, Any] | None


class ResponseEventData(TypedDict):
    """One event; what else it says goes by its type."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    type: str
    sequence_number: Annotated[int, Field(description="What `starting_after` takes.")]


class ResponseEvent(TypedDict):
    """One server-sent event."""

    event: Annotated[str, Field(description="The type again.")]
    data: Json[ResponseEventData]
