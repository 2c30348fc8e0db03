"""docs/openai.md and the code agree about what is called otherwise than natively."""

from __future__ import annotations

from chatmesh.ingress.openai.failures import failed_answer, refuse
from chatmesh.ingress.openai.operations import CREATE_CHAT_COMPLETION
from chatmesh.web import Problem
from tests.docs.pages import page, rows

ERRORS = {
    (int(status), code.strip("`"))
    for status, code, _ in rows(page("docs/openai.md").section("Errors"))
    if status.isdigit()
}


def test_every_code_that_differs_from_the_native_one_is_documented_there_and_for_generators() -> None:
    native = [Problem(422, "invalid_body", ""), Problem(422, "unknown_model", "")]
    failures = [
        failed_answer({"error": {"code": code, "message": ""}})
        for code in ("attempts_exhausted", "request_expired", "provider_down")
    ]
    refused = {refuse(problem, "").status for problem in [*native, *(p for p in failures if p is not None)]}
    assert refused == {status for status, _ in ERRORS}
    documented = CREATE_CHAT_COMPLETION.problems
    assert all(code == "any" or code in documented[status] for status, code in ERRORS)
    assert documented[502] == ()
