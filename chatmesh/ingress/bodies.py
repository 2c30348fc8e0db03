"""Bodies of the HTTP API as types: validation here, `/openapi.json` from the same."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from chatmesh.errors import ProtocolError
from chatmesh.protocol.jsontext import check_depth, check_interoperable
from chatmesh.protocol.tokens import PATTERN
from chatmesh.web import Problem

Body = TypeVar("Body", bound=BaseModel)

Id = Annotated[str, Field(pattern=PATTERN)]

MAX_PAGE = 500
DEFAULT_PAGE = 50
Limit = Annotated[int, Field(ge=1, le=MAX_PAGE, json_schema_extra={"default": DEFAULT_PAGE})]

MAX_TOKENS = 2**31 - 1
"""No model says so much; what is a number everywhere."""


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 5.0 is 5, and some languages write it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


TokenCount = Annotated[int, Field(ge=1, le=MAX_TOKENS), BeforeValidator(_whole)]


class Context(BaseModel):
    """How to answer. Further keys go to the provider as they are."""

    model_config = ConfigDict(extra="allow", strict=True)

    ai_provider: str | None = Field(
        default=None, description="Picks among several providers that have the model."
    )
    model: str | None = Field(
        default=None, min_length=1, max_length=256, description="Default: the configured one."
    )
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: TokenCount | None = None
    system_prompt: str | None = None
    conversation_history: list[Any] | None = None
    tokens_per_second: float | None = Field(
        default=None, ge=0, description="Pace of echo and count; 0: unlimited."
    )
    on_busy: Literal["queue", "reject", "interrupt"] | None = None


class PostMessage(BaseModel):
    """The body of `POST /v1/sessions/{session_id}/messages`. Unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    message: str = Field(description="What the user says.")
    message_id: Id | None = Field(default=None, description="Makes repeating safe; default: a new one.")
    user_id: str | None = Field(default=None, max_length=256)
    context: Context = Field(default_factory=Context)
    correlation_id: str | None = Field(default=None, max_length=256)


def parse_post(data: bytes) -> tuple[PostMessage, dict[str, Any]]:
    """The body, and its `context`. Raises as `parse`."""
    body, raw = parse(data, PostMessage)
    return body, context_of(body.context, raw)


def context_of(context: Context, raw: dict[str, Any]) -> dict[str, Any]:
    """As it came in the object `raw`, but for whole numbers that were written otherwise."""
    came: dict[str, Any] = raw.get("context") or {}
    if context.max_tokens is not None:
        came["max_tokens"] = context.max_tokens
    return came


def parse(data: bytes, shape: type[Body]) -> tuple[Body, dict[str, Any]]:
    """The body, and the object that it came as. Problem 400 `not_json`, 422 `invalid_body` with every field's path."""
    try:
        raw = orjson.loads(data)
        check_depth(raw, "the body")
        check_interoperable(data)
    except orjson.JSONDecodeError as error:
        raise Problem(400, "not_json", f"The body is not valid JSON: {error}") from error
    except ProtocolError as error:
        raise Problem(400, "not_json", str(error)) from error
    try:
        return shape.model_validate(raw), raw
    except ValidationError as error:
        raise _invalid(error) from error


def _invalid(error: ValidationError) -> Problem:
    errors = [
        {
            "path": ".".join(str(part) for part in item["loc"]) or "(body)",
            "message": item["msg"],
            "code": item["type"],
        }
        for item in error.errors(include_input=False, include_url=False)
    ]
    first = errors[0]
    return Problem(422, "invalid_body", f"{first['path']}: {first['message']}", more={"errors": errors})
