"""A chat completion's body as a type: validation here, `/openapi.json` from the same.
https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from chatmesh.ingress.bodies import (
    ModelName,
    OnBusy,
    Pace,
    ProviderName,
    Temperature,
    TokenCount,
    UserId,
    decode,
    validate,
    whole,
)
from chatmesh.protocol.jsontext import MAX_DEPTH
from chatmesh.protocol.tokens import PATTERN

_OPEN = ConfigDict(extra="allow", strict=True)

One = Annotated[Literal[1], BeforeValidator(whole)]


class ContentPart(BaseModel):
    """`text`, or something that only the model has to understand."""

    model_config = _OPEN

    type: str
    text: str | None = None


class ChatMessage(BaseModel):
    """What somebody said. Further keys are kept."""

    model_config = _OPEN

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None


class StreamOptions(BaseModel):
    model_config = _OPEN

    include_usage: bool | None = None


class Metadata(BaseModel):
    """`session_id`: which session this is said in."""

    model_config = _OPEN

    # Checked with the other places where a session may be named, so that they are refused alike.
    session_id: str | None = Field(default=None, json_schema_extra={"pattern": PATTERN})


class ChatRequest(BaseModel):
    """The body of `POST /v1/chat/completions`. Further keys go to the model's provider under their own names."""

    model_config = _OPEN

    model: ModelName
    messages: list[ChatMessage] = Field(
        min_length=1, description="The whole conversation; what the session holds is not added."
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: float | None = Field(default=None, ge=0, le=1)
    max_tokens: TokenCount | None = None
    max_completion_tokens: TokenCount | None = Field(default=None, description="Wins over max_tokens.")
    stop: str | list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    seed: int | None = None
    user: UserId | None = None
    n: One | None = None
    metadata: Metadata | None = None
    ai_provider: ProviderName | None = None
    on_busy: OnBusy | None = None
    tokens_per_second: Pace | None = None

    @property
    def has_usage(self) -> bool:
        """Whether a stream ends with what was used."""
        return self.stream_options is not None and self.stream_options.include_usage is True

    @property
    def most_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


def parse_chat(data: bytes) -> tuple[ChatRequest, dict[str, Any]]:
    """The body, and the same as it came. Problem 400 `not_json`, 422 `invalid_body`."""
    # A level less than elsewhere: messages lie one deeper in the request that is made of them.
    raw = decode(data, depth=MAX_DEPTH - 1)
    return validate(ChatRequest, raw), raw
