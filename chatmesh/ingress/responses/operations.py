"""What callers of `/v1/responses` have to know: the source of `/openapi.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from chatmesh.ingress.bodies import Id
from chatmesh.ingress.operations import ADMISSION
from chatmesh.ingress.responses.answers import OpenaiError, ResponseEvent, ResponseObject
from chatmesh.ingress.responses.bodies import CreateResponse
from chatmesh.protocol.openai_ids import PATTERN
from chatmesh.web.openapi import EVENT_STREAM, Answer, Errors, Operation, Parameter


def _narrow(_status: int, codes: Sequence[str]) -> dict[str, Any]:
    return {"properties": {"error": {"properties": {"code": {"enum": list(codes)}}}}}


OPENAI_ERROR = Errors(OpenaiError, "application/json", _narrow)

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
        404: ("unknown_response",),
        422: (
            "invalid",
            "invalid_body",
            "unsupported",
            "idempotency_conflict",
            "unknown_model",
            "session_busy",
        ),
        504: ("acceptance_unknown", "answer_unfinished"),
    },
    [
        Parameter("header", "X-Session-Id", Id, "The session to say it in. Default: a new one."),
        Parameter(
            "header", "Idempotency-Key", str, "Makes repeating safe: the same key is the same response."
        ),
    ],
    CreateResponse,
    "Leaving stops nothing. Errors have OpenAI's shape.",
    errors=OPENAI_ERROR,
)

RETRIEVE = Operation(
    "getResponse",
    "Read a response, or follow it.",
    {200: Answer("As far as it is; with `stream` its events.", ResponseObject, headers=_IDS, also=_STREAMED)},
    {404: ("unknown_response",), 422: ("invalid",), 503: ("broker_away",)},
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
    errors=OPENAI_ERROR,
)

CANCEL = Operation(
    "cancelResponse",
    "Stop a response, running or queued.",
    {200: Answer("The response as it is now.", ResponseObject, headers=_IDS)},
    {
        404: ("unknown_response", "unknown_message"),
        503: ("broker_away", "storage_full"),
        504: ("stop_unknown",),
    },
    [_ID],
    errors=OPENAI_ERROR,
)
