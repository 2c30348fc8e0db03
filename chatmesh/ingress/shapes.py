"""Problems in the words of other people's clients."""

from __future__ import annotations

from collections.abc import Callable

from chatmesh.errors import ProtocolError
from chatmesh.protocol.openai_chat import error_body
from chatmesh.web import Handler, Problem, Request, Response, json_response, text_response

Shape = Callable[[Problem], Response]

ACCEPTED = {"acceptance_unknown", "answer_unfinished"}
"""Codes of what was accepted, or may have been: OpenAI's SDKs would send it again, and it would be another message."""


def shaped(handler: Handler, shape: Shape) -> Handler:
    """The handler, whose problems are told in that shape. What is no problem of its own (a bug, no HTTP) stays as it is."""

    async def shaped_handler(http: Request) -> Response:
        try:
            return await handler(http)
        except Problem as problem:
            return shape(problem)
        except ProtocolError as error:
            return shape(Problem(422, "invalid", str(error)))

    return shaped_handler


def openai_error(problem: Problem) -> Response:
    """As OpenAI's SDKs read it."""
    errors = problem.more.get("errors")
    param = errors[0]["path"] if errors else None
    headers = problem.all_headers | ({"x-should-retry": "false"} if problem.code in ACCEPTED else {})
    body = error_body(problem.detail, problem.code, status=problem.status, param=param)
    return json_response(body, status=problem.status, headers=headers)


def sentence(problem: Problem) -> Response:
    """As a sentence, which is shown to people as it is."""
    return text_response(problem.detail, status=problem.status, headers=problem.all_headers)
