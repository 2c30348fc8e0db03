"""What readers of event streams have to know: the source of `/openapi.json`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from chatmesh.protocol.tokens import PATTERN
from chatmesh.web.events import Event
from chatmesh.web.openapi import EVENT_STREAM, Answer, Operation, Parameter

GET_EVENTS = Operation(
    "getEvents",
    "Follow a session.",
    {
        200: Answer(
            "Server-sent events: chunks as unnamed ones, each with a position in its `id`; `reset` and `drain` by name.",
            Event,
            EVENT_STREAM,
        ),
        204: Answer("Of the one message asked for, this reader has everything."),
    },
    {403: ("missing_scope",), 404: ("unknown_session",), 422: ("invalid_id",)},
    [
        Parameter(
            "query",
            "message_id",
            Annotated[str, Field(pattern=PATTERN)],
            "Only this message, from its beginning; the stream ends after its final chunk.",
        ),
        Parameter(
            "query", "last_event_id", str, "Like `Last-Event-ID`, for those who can't set headers first."
        ),
        Parameter("query", "ticket", str, "For those who can't send who they are in a header; good once."),
        Parameter("query", "from", str, "`start` replays all that is kept."),
        Parameter(
            "header",
            "Last-Event-ID",
            str,
            "A position ever received: exactly the events after it, then live ones. One that is not known gets a `reset`.",
        ),
    ],
    description="Without a position: unfinished answers from their beginning, then live. A session that is not there yet "
    "is waited for. A state that passes is never an error: the stream ends after `retry:`, and one comes back.",
)
