"""What callers of the operator's endpoints have to know: the source of `/openapi.json`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from chatmesh.console.shapes import (
    LetterDropped,
    LetterPage,
    LetterRetried,
    OpsEvent,
    ReplayPage,
    SessionRows,
)
from chatmesh.ingress.bodies import Limit
from chatmesh.operate.sessions import Activity
from chatmesh.web.openapi import EVENT_STREAM, Answer, Operation, Parameter

MAX_SEQ = 10**12 - 1
PATTERN = r"^[A-Za-z0-9_*?-]{1,128}$"

_LIMIT = Parameter("query", "limit", Limit, "How many, at most.")
_Sequence = Annotated[int, Field(ge=0, le=MAX_SEQ)]

PAGE = Operation("getOpsPage", "The operator's page.", {200: Answer("For browsers.", str, "text/html")})

GET_EVENTS = Operation(
    "getOpsEvents",
    "Look at the mesh.",
    {200: Answer("A look each second, as server-sent events. Each one is whole.", OpsEvent, EVENT_STREAM)},
    description="All who look at one pod share its looks; one that reads slowly misses some.",
)

GET_LETTERS = Operation(
    "getDeadLetters",
    "List dead letters, the oldest first.",
    {200: Answer("A page of them.", LetterPage)},
    {422: ("invalid_limit", "invalid"), 503: ("broker_away", "key_missing")},
    [_LIMIT, Parameter("query", "after", _Sequence, "The `next` of the page before.")],
)

RETRY_LETTER = Operation(
    "retryDeadLetter",
    "Queue a dead letter's request once more.",
    {200: Answer("It is queued, and no dead letter any more.", LetterRetried)},
    {404: ("unknown_letter",), 409: ("still_queued",), 503: ("broker_away", "key_missing")},
    description="A message that has ended is queued as a new one. Retried twice it is one message.",
)

DROP_LETTER = Operation(
    "dropDeadLetter",
    "Remove a dead letter for good.",
    {200: Answer("It is gone, from the disk too.", LetterDropped)},
    {404: ("unknown_letter",), 503: ("broker_away", "key_missing")},
)

GET_SESSIONS = Operation(
    "getAllSessions",
    "List sessions of everybody: what is queued or running first, then the latest.",
    {200: Answer("A page of them, without what was said.", SessionRows)},
    {422: ("invalid_limit", "invalid"), 503: ("broker_away", "key_missing")},
    [
        _LIMIT,
        Parameter(
            "query", "ids", Annotated[str, Field(pattern=PATTERN)], "Which ones; `*` and `?` stand in."
        ),
        Parameter("query", "state", Activity, "Only those."),
        Parameter("query", "before", _Sequence, "The `next` of the page before."),
    ],
)

GET_REPLAY = Operation(
    "getReplay",
    "Read when each piece of a session's answers was written.",
    {200: Answer("A page of pieces, the oldest first.", ReplayPage)},
    {404: ("unknown_session",), 422: ("invalid_id", "invalid"), 503: ("broker_away", "key_missing")},
    [Parameter("query", "after", _Sequence, "The `next` of the page before.")],
    description="With their words only for a caller who may read the session; others get times and lengths.",
)
