"""The HTTP server as a service: the only room that imports aiohttp.

In: routes with handlers. Out: requests with bounded bodies, problem answers, event streams that can be written to
without waiting.
"""

from chatmesh.web.expiry import at_expiry
from chatmesh.web.failures import FailedTries
from chatmesh.web.guard import Guard, unknown_response, unknown_session
from chatmesh.web.problem import Problem
from chatmesh.web.request import (
    CALLER,
    CROWDED,
    Request,
    Response,
    empty_response,
    json_response,
    read_body,
    text_response,
)
from chatmesh.web.server import Route, Server, ServerSettings
from chatmesh.web.sink import EventSink, NoSink, Sink, cut
from chatmesh.web.stream import Moved, Stream
from chatmesh.web.tickets import EventTickets

__all__ = [
    "CALLER",
    "CROWDED",
    "EventSink",
    "EventTickets",
    "FailedTries",
    "Guard",
    "Moved",
    "NoSink",
    "Problem",
    "Request",
    "Response",
    "Route",
    "Server",
    "ServerSettings",
    "Sink",
    "Stream",
    "at_expiry",
    "cut",
    "empty_response",
    "json_response",
    "read_body",
    "text_response",
    "unknown_response",
    "unknown_session",
]
