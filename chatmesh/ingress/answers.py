"""Answers of the HTTP API as types: what the handlers build, and what `/openapi.json` says."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from chatmesh.ingress.bodies import Id

# typing's own TypedDict will do from Python 3.12 on, says pydantic.

Status = Literal["queued", "running", "done", "stopped", "failed"]
Cursor = Annotated[
    str | None, Field(description="Send it as `after` for the next page; null: this is the last.")
]


class MessageAccepted(TypedDict):
    message_id: Id
    session_id: Id
    correlation_id: str
    duplicate: Annotated[bool, Field(description="It had been accepted before; nothing new happens.")]
    events_url: str


class Failure(TypedDict):
    code: str
    message: str


class Spent(TypedDict):
    user_id: str
    prompt_tokens: int
    generated_tokens: Annotated[int, Field(description="What models said, delivered or not.")]
    delivered_tokens: int
    discarded_tokens: Annotated[int, Field(description="Taken back, repeated, or behind a stop.")]
    cost: NotRequired[Annotated[float, Field(description="By the configured prices; absent without any.")]]
    calls: Annotated[list[dict[str, Any]], Field(description="Each call of a model, in order.")]


class UserRow(TypedDict):
    message_id: Id
    role: Literal["user"]
    content: str
    status: Status
    finish_reason: None
    created_at: str
    user_id: str
    correlation_id: str


class AssistantRow(TypedDict):
    message_id: Id
    role: Literal["assistant"]
    content: Annotated[str, Field(description="As far as it goes.")]
    status: Status
    finish_reason: str | None
    created_at: str | None
    model: str | None
    attempt: int
    ended_at: NotRequired[Annotated[str, Field(description="Once it has ended.")]]
    spend: NotRequired[Annotated[Spent, Field(description="Once it has ended.")]]
    error: NotRequired[Failure]


class OneMessage(AssistantRow):
    session_id: Id
    message: Annotated[str, Field(description="What the user said.")]


class MessagePage(TypedDict):
    messages: Annotated[
        list[UserRow | AssistantRow], Field(description="Oldest first; two rows share a message_id.")
    ]
    position: Annotated[str, Field(description="Where an events stream goes on behind this page.")]
    next: Cursor


class SessionEntry(TypedDict):
    session_id: Id
    last_message_id: Id | None
    updated_at: str | None


class SessionPage(TypedDict):
    sessions: list[SessionEntry]
    next: Cursor


class MessageStopping(TypedDict):
    message_id: Id
    session_id: Id
    status: Literal["stopping"]


class SessionErasing(TypedDict):
    session_id: Id
    status: Literal["erasing"]
