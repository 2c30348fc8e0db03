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

MOST_SESSIONS = 32
"""On one connection: their positions have to fit into an address and into a header."""

GET_EVENTS_OF_SEVERAL = Operation(
    "getEventsOfSeveral",
    "Follow several sessions.",
    {
        200: Answer(
            "Server-sent events as of one session. An `id` has a position of each session, in the order of the request, "
            "with commas between; a chunk and a `reset` name their session.",
            Event,
            EVENT_STREAM,
        ),
    },
    {403: ("missing_scope",), 404: ("unknown_session",), 422: ("invalid_id", "invalid_sessions")},
    [
        Parameter(
            "query",
            "session",
            Annotated[
                list[Annotated[str, Field(pattern=rf"{PATTERN[:-1]}(:.{{1,64}})?$")]],
                Field(min_length=1, max_length=MOST_SESSIONS, json_schema_extra={"uniqueItems": True}),
            ],
            "Once for each: its id, and where to begin behind a colon: a position, or `start` for all that is kept.",
            is_needed=True,
        ),
        Parameter(
            "header", "Last-Event-ID", str, "An `id` ever received for the same sessions in the same order."
        ),
    ],
    description="One connection for all: what ends it for one session ends it for every one, and a client comes back. "
    "What is said of one session's events is true of each. A `404` names the session that is not the caller's.",
)
