"""What callers of the OpenAI-compatible routes have to know: the source of `/openapi.json`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from chatmesh.ingress import operations
from chatmesh.ingress.bodies import MaybeId
from chatmesh.ingress.openai import caller
from chatmesh.ingress.openai.answers import ERRORS, ChatCompletion, ChatEvent, Model, ModelList
from chatmesh.ingress.openai.bodies import ChatRequest
from chatmesh.ingress.repeats import RETRY_COUNT
from chatmesh.web.openapi import EVENT_STREAM, Answer, Operation, Parameter

CREATE_CHAT_COMPLETION = Operation(
    "createChatCompletion",
    "Answer a conversation, as OpenAI's API does.",
    {
        200: Answer(
            "The whole answer; with `stream`, its events.",
            ChatCompletion,
            headers={
                caller.SESSION: "The session, for the native routes.",
                "X-Message-Id": "The message in it.",
                "x-should-retry": "`false`: it is accepted.",
            },
            also={EVENT_STREAM: ChatEvent},
        )
    },
    {
        400: ("not_json", "invalid_value"),
        404: ("model_not_found", "unknown_session"),
        408: ("request_timeout",),
        413: ("too_large",),
        415: ("not_json_type", "unsupported_encoding"),
        422: ("invalid_id", "invalid", "session_busy", "history_too_long"),
        429: operations.ADMISSION[429],
        500: ("attempts_exhausted",),
        502: (),
        503: ("not_ready", "broker_away", "key_missing", "storage_full", "not_accepted", "overloaded"),
        504: ("acceptance_unknown", "request_expired"),
    },
    [
        Parameter(
            "header", caller.SESSION, MaybeId, "The session; else `metadata.session_id`, else a new one."
        ),
        Parameter("header", caller.OPEN_WEBUI_CHAT, MaybeId, "The session, where nothing else names one."),
        Parameter("header", caller.OPEN_WEBUI_USER, str, "The user, where the body names none."),
        Parameter(
            "header",
            RETRY_COUNT,
            Annotated[int, Field(ge=0)],
            "Above 0, with the body of a request of the last minute: it is the same message.",
        ),
    ],
    ChatRequest,
    "An error without `x-should-retry: false` says that nothing was accepted, or (504) that it is safe to send it again "
    "with a retry count.",
    ERRORS,
    example={"model": "echo", "messages": [{"role": "user", "content": "one two three"}], "stream": True},
)

LIST_MODELS = Operation(
    "listModels",
    "The models that workers serve now.",
    {200: Answer("By name; none while no worker was heard of.", ModelList)},
    {500: ()},
    errors=ERRORS,
)

GET_MODEL = Operation(
    "getModel",
    "One of them.",
    {200: Answer("It is served.", Model)},
    {404: ("model_not_found",), 500: ()},
    errors=ERRORS,
)
