"""What callers of `/api/chat` have to know: the source of `/openapi.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatmesh.ingress.operations import ADMISSION
from chatmesh.ingress.vercel.answers import ChatStopped, StreamEvent
from chatmesh.ingress.vercel.bodies import PostChat
from chatmesh.web.openapi import EVENT_STREAM, Answer, Errors, Operation


def _narrow(_status: int, _codes: Sequence[str]) -> dict[str, Any]:
    return {}


SENTENCE = Errors(str, "text/plain", _narrow)

_STREAM = Answer(
    "The answer as a UI message stream.", StreamEvent, EVENT_STREAM, {"X-Vercel-AI-UI-Message-Stream": "v1"}
)

POST_CHAT = Operation(
    "postChat",
    "Say something, as the Vercel AI SDK's useChat does.",
    {200: _STREAM},
    {
        **ADMISSION,
        422: (
            "invalid",
            "invalid_body",
            "unsupported",
            "idempotency_conflict",
            "unknown_model",
            "session_busy",
            "history_too_long",
        ),
    },
    body=PostChat,
    description="Leaving stops nothing. Errors are a sentence.",
    errors=SENTENCE,
    example={
        "id": "my-session",
        "message": {"id": "m2", "role": "user", "parts": [{"type": "text", "text": "one two three"}]},
        "model": "echo",
    },
)

RESUME_CHAT = Operation(
    "resumeChat",
    "Follow the session's unfinished answer, from its beginning.",
    {200: _STREAM, 204: Answer("Nothing is being answered.")},
    {422: ("invalid_id",), 503: ("broker_away", "key_missing")},
    errors=SENTENCE,
)

STOP_CHAT = Operation(
    "stopChat",
    "Stop what the session is answering, and what waits.",
    {200: Answer("The messages that were stopped.", ChatStopped)},
    {
        404: ("unknown_message", "unknown_session"),
        422: ("invalid_id",),
        503: ("broker_away", "key_missing", "storage_full"),
        504: ("stop_unknown",),
    },
    errors=SENTENCE,
)
