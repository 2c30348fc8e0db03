"""Bodies of `/v1/responses` as types: validation here, `/openapi.json` from the same."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from chatmesh.ingress.bodies import TokenCount

MAX_PAIRS = 16
MetadataName = Annotated[str, Field(max_length=64)]
MetadataText = Annotated[str, Field(max_length=512)]

_OPEN = ConfigDict(extra="ignore", strict=True)


class ContentPart(BaseModel):
    """`input_text` and `output_text` are understood."""

    model_config = _OPEN

    type: str
    text: str | None = None


class InputItem(BaseModel):
    """A message, a function call of the model's, or what came of it."""

    model_config = _OPEN

    type: str = "message"
    role: str | None = Field(default=None, description="user, assistant, system or developer.")
    content: str | list[ContentPart] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[ContentPart] | None = None


class Function(BaseModel):
    model_config = _OPEN

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class TextSettings(BaseModel):
    model_config = _OPEN

    format: dict[str, Any] | None = None


class ReasoningSettings(BaseModel):
    model_config = _OPEN

    effort: str | None = None


class CreateResponse(BaseModel):
    """The body of `POST /v1/responses`. Unknown keys are ignored."""

    model_config = _OPEN

    input: str | list[InputItem] = Field(description="What the user says, or the whole conversation.")
    model: str | None = Field(
        default=None, min_length=1, max_length=256, description="Default: the configured one."
    )
    instructions: str | None = None
    previous_response_id: str | None = Field(
        default=None, description="Goes on in that response's session, with all that was said there."
    )
    stream: bool | None = None
    background: bool | None = Field(default=None, description="Answer at once; the response goes on alone.")
    store: bool | None = Field(default=None, description="false: it can't be retrieved once it has ended.")
    metadata: Annotated[dict[MetadataName, MetadataText], Field(max_length=MAX_PAIRS)] | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    max_output_tokens: TokenCount | None = None
    tools: list[Function] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextSettings | None = None
    reasoning: ReasoningSettings | None = None
    user: str | None = Field(default=None, max_length=256)
    conversation: Any = Field(default=None, description="Not supported: use `X-Session-Id`.")
    prompt: Any = Field(default=None, description="Not supported.")
