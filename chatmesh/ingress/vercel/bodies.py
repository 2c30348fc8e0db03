"""Bodies of `/api/chat` as types: validation here, `/openapi.json` from the same."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chatmesh.ingress.bodies import Context, Id

_OPEN = ConfigDict(extra="ignore", strict=True)


class UiPart(BaseModel):
    """Text, or a tool's call with its result; others are no words, and are left out."""

    model_config = ConfigDict(extra="ignore", strict=True, populate_by_name=True)

    type: str
    text: str | None = None
    tool_name: str | None = Field(default=None, alias="toolName")
    tool_call_id: str | None = Field(default=None, alias="toolCallId")
    state: str | None = None
    input: Any = None
    output: Any = None
    error_text: str | None = Field(default=None, alias="errorText")


class UiMessage(BaseModel):
    model_config = _OPEN

    id: str | None = None
    role: Literal["system", "user", "assistant"]
    parts: list[UiPart]


class PostChat(BaseModel):
    """The body of `POST /api/chat`: `messages`, the whole conversation, or `message` alone, where the session knows what was
    said before. Unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, populate_by_name=True)

    id: Id = Field(description="The session.")
    messages: list[UiMessage] | None = None
    message: UiMessage | None = None
    trigger: str | None = Field(default=None, description="submit-message or regenerate-message.")
    message_id: str | None = Field(
        default=None, alias="messageId", description="Of the message that is edited or answered anew."
    )
    model: str | None = Field(
        default=None, min_length=1, max_length=256, description="Default: the configured one."
    )
    context: Context = Field(default_factory=Context, description="How to answer, as natively.")
