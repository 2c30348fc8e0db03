"""Answers of `/api/chat` as types, for `/openapi.json`. `protocol.vercel_ui` makes the stream."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Json
from typing_extensions import TypedDict

from chatmesh.ingress.bodies import Id


class StreamPart(TypedDict):
    """A part of the answer; what else it says goes by its type."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    type: str


class StreamEvent(TypedDict):
    """One server-sent event."""

    data: Json[StreamPart] | Literal["[DONE]"]


class ChatStopped(TypedDict):
    stopped: list[Id]
