"""Problems in the words of other people's clients."""

from __future__ import annotations

from chatmesh.ingress.openai.failures import refuse
from chatmesh.web import Problem, Response, text_response

ACCEPTED = {"acceptance_unknown", "answer_unfinished"}
"""Codes of what was accepted, or may have been: OpenAI's SDKs would send it again, and it would be another message."""


def openai_error(problem: Problem, request_id: str) -> Response:
    """In OpenAI's words, where a second try is not recognised as one."""
    answer = refuse(problem, request_id)
    if problem.code in ACCEPTED:
        answer.headers["x-should-retry"] = "false"
    return answer


def sentence(problem: Problem, _request_id: str) -> Response:
    """As a sentence, which is shown to people as it is."""
    return text_response(problem.detail, status=problem.status, headers=problem.answer_headers)
