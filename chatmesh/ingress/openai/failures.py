"""Failures in OpenAI's words: before a message is accepted, and of its answer. Pure."""

from __future__ import annotations

import re
from typing import Any

from chatmesh.protocol.openai_chat import error_body
from chatmesh.web import Problem, Response, json_response

_THEIRS = {
    "unknown_model": (404, "model_not_found", "model"),
    "invalid_body": (400, "invalid_value", None),
}
"""Ours → status, code and the parameter to blame, where OpenAI has another word for it."""

_OF_ANSWERS = {"attempts_exhausted": 500, "request_expired": 504}
_OF_THE_MODEL = 502
"""What the model or its provider did, whatever it was."""

_BRANCH = re.compile(r"str|(list|dict)\[.*")
"""What pydantic puts into a path to say which of several types it tried."""


def refuse(problem: Problem, _request_id: str) -> Response:
    """A problem as SDKs make exceptions of."""
    status, code, param = _THEIRS.get(problem.code, (problem.status, problem.code, None))
    message, param = _blamed(problem, param)
    body = error_body(message, code, status=status, param=param)
    return json_response(body, status=status, headers=problem.answer_headers)


def failed_answer(final: dict[str, Any]) -> Problem | None:
    """The Problem that an answer has ended with."""
    error = final.get("error")
    if not isinstance(error, dict):
        return None
    code = str(error.get("code", ""))
    return Problem(_OF_ANSWERS.get(code, _OF_THE_MODEL), code, str(error.get("message", "")))


def _blamed(problem: Problem, param: str | None) -> tuple[str, str | None]:
    """What is wrong, and with which parameter."""
    errors = problem.more.get("errors")
    if not errors:
        return problem.detail, param or problem.more.get("param")
    path = _written(errors[0]["path"])
    return f"{path or 'The body'}: {errors[0]['message']}", path


def _written(path: str) -> str | None:
    """`messages.0.content.str` as `messages[0].content`."""
    written = ""
    for part in path.split("."):
        if part.isdigit():
            written += f"[{part}]"
        elif not _BRANCH.fullmatch(part):
            written += f".{part}" if written else part
    return None if written == "(body)" else written
