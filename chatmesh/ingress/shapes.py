"""Problems in the words of other people's clients."""

from __future__ import annotations

from chatmesh.protocol.openai_chat import error_body
from chatmesh.web import Problem, Response, json_response, text_response

ACCEPTED = {"acceptance_unknown", "answer_unfinished"}
"""Codes of what was accepted, or may have been: OpenAI's SDKs would send it again, and it would be another message."""


def openai_error(problem: Problem, _request_id: str) -> Response:
    """As OpenAI's SDKs read it."""
    errors = problem.more.get("errors")
    param = errors[0]["path"] if errors else None
    headers = problem.answer_headers | ({"x-should-retry": "false"} if problem.code in ACCEPTED else {})
    body = error_body(problem.detail, problem.code, status=problem.status, param=param)
    return json_response(body, status=problem.status, headers=headers)


def sentence(problem: Problem, _request_id: str) -> Response:
    """As a sentence, which is shown to people as it is."""
    return text_response(problem.detail, status=problem.status, headers=problem.answer_headers)
