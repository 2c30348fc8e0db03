"""Problems in the words of other people's clients."""

from __future__ import annotations

from chatmesh.web import Problem, Response, text_response


def sentence(problem: Problem, _request_id: str) -> Response:
    """As a sentence, which is shown to people as it is."""
    return text_response(problem.detail, status=problem.status, headers=problem.answer_headers)
