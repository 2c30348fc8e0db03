"""Answers to OpenAI's clients as types, for `/openapi.json`. They are made by `protocol.openai_chat`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from chatmesh.web.openapi import Errors


class Function(TypedDict):
    name: str
    arguments: Annotated[str, Field(description="JSON, as the model wrote it.")]


class ToolCall(TypedDict):
    id: str
    type: Literal["function"]
    function: Function


class AssistantMessage(TypedDict):
    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[ToolCall]]


class Choice(TypedDict):
    index: Literal[0]
    message: AssistantMessage
    logprobs: None
    finish_reason: str


class ChatCompletion(TypedDict):
    id: str
    object: Literal["chat.completion"]
    created: Annotated[int, Field(description="Unix seconds.")]
    model: str
    choices: list[Choice]
    usage: dict[str, Any]


class ChatEvent(TypedDict):
    """One server-sent event, without a name or a position."""

    data: Annotated[
        str,
        Field(description="A `chat.completion.chunk`, an `error` after which nothing follows, or `[DONE]`."),
    ]


class Model(TypedDict):
    id: str
    object: Literal["model"]
    created: Annotated[int, Field(description="Unix seconds: when this pod began.")]
    owned_by: str


class ModelList(TypedDict):
    object: Literal["list"]
    data: list[Model]


class ErrorDetail(TypedDict):
    message: str
    type: str
    param: Annotated[str | None, Field(description="The field to blame.")]
    code: str


class ErrorBody(TypedDict):
    """What went wrong, for SDKs to make exceptions of."""

    error: ErrorDetail


def _of_codes(_status: int, codes: Sequence[str]) -> dict[str, Any]:
    return {"properties": {"error": {"properties": {"code": {"enum": list(codes)}}}}}


ERRORS = Errors(ErrorBody, "application/json", _of_codes)
