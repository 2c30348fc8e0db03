"""What callers of `/v1/responses` have to know: the source of `/openapi.json`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from chatmesh.ingress.bodies import MaybeId
from chatmesh.ingress.openai.answers import ERRORS
from chatmesh.ingress.operations import ADMISSION
from chatmesh.ingress.responses.answers import ResponseEvent, ResponseObject
from chatmesh.ingress.responses.bodies import CreateResponse
from chatmesh.protocol.openai_ids import PATTERN
from chatmesh.web.openapi import EVENT_STREAM, Answer, Operation, Parameter

_IDS = {"X-Session-Id": "The response's session.", "X-Message-Id": "Its message in there."}
_STREAMED = {EVENT_STREAM: ResponseEvent}
_ID = Parameter("path", "response_id", Annotated[str, Field(pattern=PATTERN)], "As a response has it.")

CREATE = Operation(
    "createResponse",
    "Ask for a response, as OpenAI's clients do.",
    {
        200: Answer(
            "The response: whole, or (`background`) as far as it is; with `stream` its events.",
            ResponseObject,
            headers=_IDS,
            also=_STREAMED,
        )
    },
    {
        **ADMISSION,
        400: (*ADMISSION[400], "invalid_value"),
        404: ("unknown_response", "unknown_session", "model_not_found"),
        422: (
            "invalid_id",
            "invalid",
            "unsupported",
            "idempotency_conflict",
            "session_busy",
            "history_too_long",
        ),
        504: ("acceptance_unknown", "answer_unfinished"),
    },
    [
        Parameter("header", "X-Session-Id", MaybeId, "The session to say it in. Default: a new one."),
        Parameter(
            "header", "Idempotency-Key", str, "Makes repeating safe: the same key is the same response."
        ),
    ],
    CreateResponse,
    "Leaving stops nothing. Errors have OpenAI's shape.",
    errors=ERRORS,
    example={"model": "echo", "input": "one two three"},
)

RETRIEVE = Operation(
    "getResponse",
    "Read a response, or follow it.",
    {200: Answer("As far as it is; with `stream` its events.", ResponseObject, headers=_IDS, also=_STREAMED)},
    {404: ("unknown_response",), 422: ("invalid",), 503: ("broker_away", "key_missing")},
    [
        _ID,
        Parameter("query", "stream", bool, "true: its events, from its beginning, up to its end."),
        Parameter(
            "query",
            "starting_after",
            Annotated[int, Field(ge=-1, lt=10**18)],
            "A `sequence_number`: only the events after it.",
        ),
    ],
    errors=ERRORS,
)

CANCEL = Operation(
    "cancelResponse",
    "Stop a response, running or queued.",
    {200: Answer("The response as it is now.", ResponseObject, headers=_IDS)},
    {
        404: ("unknown_response", "unknown_message"),
        503: ("broker_away", "key_missing", "storage_full"),
        504: ("stop_unknown",),
    },
    [_ID],
    errors=ERRORS,
)
