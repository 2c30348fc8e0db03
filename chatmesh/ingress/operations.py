"""What callers of the native routes have to know: the source of `/openapi.json`, beside the types of bodies and answers."""

from __future__ import annotations

from chatmesh.ingress.answers import (
    MessageAccepted,
    MessagePage,
    MessageStopping,
    OneMessage,
    SessionErasing,
    SessionPage,
)
from chatmesh.ingress.bodies import Limit, PostMessage
from chatmesh.web.events import Event
from chatmesh.web.openapi import EVENT_STREAM, Answer, Operation, Parameter

_LIMIT = Parameter("query", "limit", Limit, "How many, at most.")
_AFTER = Parameter("query", "after", str, "The `next` of the page before.")
_ID = ("invalid_id",)
_AWAY = ("broker_away", "key_missing")
_NOT_STORED = ("broker_away", "key_missing", "storage_full")

ADMISSION = {
    400: ("not_json",),
    404: ("unknown_session",),
    408: ("request_timeout",),
    413: ("too_large",),
    415: ("not_json_type", "unsupported_encoding"),
    429: ("session_queue_full", "rate_limited", "too_many_answers", "mesh_busy"),
    503: ("not_ready", "broker_away", "key_missing", "storage_full", "not_accepted", "overloaded"),
    504: ("acceptance_unknown",),
}
"""Problems of every call that sends a message, but for those of its form (422)."""

POST_MESSAGE = Operation(
    "postMessage",
    "Say something in a session.",
    {
        200: Answer(
            "The answer itself, where `Accept` asks for text/event-stream. Ends after the final chunk.",
            Event,
            EVENT_STREAM,
            {"X-Message-Id": "The message.", "X-Session-Id": "Its session."},
        ),
        202: Answer(
            "Accepted: it is stored, and will be answered once.",
            MessageAccepted,
            headers={"Location": "The message."},
        ),
    },
    {
        **ADMISSION,
        422: (
            "invalid_id",
            "invalid_body",
            "invalid",
            "idempotency_conflict",
            "unknown_model",
            "session_busy",
            "history_too_long",
        ),
    },
    [
        Parameter(
            "header",
            "Idempotency-Key",
            str,
            "Makes repeating safe, like `message_id`: the same key with the same body is the same message.",
        ),
    ],
    PostMessage,
    "A session begins with its first message. 503: nothing was accepted. 504: repeat it with the `message_id` that the "
    "problem names.",
    example={"message_id": "m1", "message": "one two three", "context": {"model": "echo"}},
)

GET_MESSAGES = Operation(
    "getMessages",
    "Read a session's messages.",
    {200: Answer("A page of them.", MessagePage)},
    {404: ("unknown_session",), 422: ("invalid_id", "invalid_limit", "unknown_cursor"), 503: _AWAY},
    [_LIMIT, _AFTER],
)

GET_MESSAGE = Operation(
    "getMessage",
    "Read one message: its state and its answer.",
    {200: Answer("As far as it goes.", OneMessage)},
    {404: ("unknown_message", "unknown_session"), 422: _ID, 503: _AWAY},
)

DELETE_MESSAGE = Operation(
    "stopMessage",
    "Stop a message, running or queued.",
    {
        200: Answer("It has ended already.", OneMessage),
        202: Answer("The stop is stored; the stream gets its final chunk.", MessageStopping),
    },
    {404: ("unknown_message", "unknown_session"), 422: _ID, 503: _NOT_STORED, 504: ("stop_unknown",)},
)

GET_SESSIONS = Operation(
    "getSessions",
    "List the caller's sessions; all, where nobody is asked who is calling.",
    {200: Answer("A page of them, in the order of their ids.", SessionPage)},
    {422: ("invalid_limit",), 503: _AWAY},
    [_LIMIT, _AFTER],
)

DELETE_SESSION = Operation(
    "eraseSession",
    "Erase a session with everything said in it.",
    {202: Answer("Reads are 404 from now on.", SessionErasing)},
    {404: ("unknown_session",), 422: _ID, 503: _NOT_STORED, 504: ("erase_unknown",)},
)
