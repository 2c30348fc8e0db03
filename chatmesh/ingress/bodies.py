"""Bodies of the HTTP API as types: validation here, `/openapi.json` from the same."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from chatmesh.errors import ProtocolError
from chatmesh.protocol.jsontext import MAX_DEPTH, check_depth, check_interoperable
from chatmesh.protocol.tokens import PATTERN
from chatmesh.web import Problem

Body = TypeVar("Body", bound=BaseModel)

Id = Annotated[str, Field(pattern=PATTERN)]
MaybeId = Annotated[str, Field(pattern=rf"^$|{PATTERN}")]
"""In a header: an empty one is as good as none."""

MAX_PAGE = 500
DEFAULT_PAGE = 50
Limit = Annotated[int, Field(ge=1, le=MAX_PAGE, json_schema_extra={"default": DEFAULT_PAGE})]

MAX_TOKENS = 2**31 - 1
"""No model says so much; what is a number everywhere."""


def whole(value: Any) -> Any:
    """JSON has one kind of number: 5.0 is 5, and some languages write it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


TokenCount = Annotated[int, Field(ge=1, le=MAX_TOKENS), BeforeValidator(whole)]

ModelName = Annotated[str, Field(min_length=1, max_length=256)]
ProviderName = Annotated[str, Field(description="Picks among several providers that have the model.")]
Temperature = Annotated[float, Field(ge=0, le=2)]
Pace = Annotated[float, Field(ge=0, description="Pace of echo and count; 0: unlimited.")]
OnBusy = Literal["queue", "reject", "interrupt"]
UserId = Annotated[str, Field(max_length=256)]


class Context(BaseModel):
    """How to answer. Further keys go to the provider as they are."""

    model_config = ConfigDict(extra="allow", strict=True)

    ai_provider: ProviderName | None = None
    model: ModelName | None = Field(default=None, description="Default: the configured one.")
    temperature: Temperature | None = None
    max_tokens: TokenCount | None = None
    system_prompt: str | None = None
    conversation_history: list[Any] | None = None
    tokens_per_second: Pace | None = None
    on_busy: OnBusy | None = None


class PostMessage(BaseModel):
    """The body of `POST /v1/sessions/{session_id}/messages`. Unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    message: str = Field(description="What the user says.")
    message_id: Id | None = Field(default=None, description="Makes repeating safe; default: a new one.")
    user_id: UserId | None = None
    context: Context = Field(default_factory=Context)
    correlation_id: str | None = Field(default=None, max_length=256)


def parse_post(data: bytes) -> tuple[PostMessage, dict[str, Any]]:
    """The body, and its `context` as it came, but for whole numbers that were written otherwise. Problem 400 `not_json`,
    422 `invalid_body` with every field's path."""
    raw = decode(data)
    body = validate(PostMessage, raw)
    return body, context_of(body.context, raw)


def context_of(context: Context, raw: dict[str, Any]) -> dict[str, Any]:
    """As it came in the object `raw`, but for whole numbers that were written otherwise."""
    came: dict[str, Any] = raw.get("context") or {}
    if context.max_tokens is not None:
        came["max_tokens"] = context.max_tokens
    return came


def decode(data: bytes, *, depth: int = MAX_DEPTH) -> Any:
    """The JSON in a body that every reader understands alike, nested so deep at most. Problem 400 `not_json`."""
    try:
        raw = orjson.loads(data)
        check_depth(raw, "the body", depth)
        check_interoperable(data)
    except orjson.JSONDecodeError as error:
        raise Problem(400, "not_json", f"The body is not valid JSON: {error}") from error
    except ProtocolError as error:
        raise Problem(400, "not_json", str(error)) from error
    return raw


def validate(shape: type[Body], raw: Any) -> Body:
    """`raw` as that type. Problem 422 `invalid_body`."""
    try:
        return shape.model_validate(raw)
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
