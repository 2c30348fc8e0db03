"""Errors as RFC 9457 `application/problem+json`: a stable `code`, what was expected, what was got, no stack trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from aiohttp import web
from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

_TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Request too slow",
    409: "Not possible now",
    413: "Too large",
    414: "Address too long",
    415: "Unsupported media type",
    417: "Expectation not met",
    422: "Not valid",
    429: "Too many",
    431: "Head too large",
    500: "Internal error",
    501: "Not set up",
    503: "Not available now",
    504: "Outcome unknown",
}


class ProblemBody(TypedDict):
    """What went wrong. `code` is stable; `title` and `detail` are for people."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    type: Annotated[str, Field(description="`urn:chatmesh:problem:` and the code.")]
    title: str
    status: int
    code: str
    detail: Annotated[str, Field(description="What was expected, and what was got.")]
    request_id: str


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818 - the RFC's word for it
    """Raise it in a handler; the server turns it into the answer. `more` are further members of the body."""

    status: int
    code: str
    detail: str
    retry_after_seconds: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def answer_headers(self) -> dict[str, str]:
        """All that it says in headers."""
        if self.retry_after_seconds is None:
            return self.headers
        return self.headers | {"Retry-After": str(self.retry_after_seconds)}

    def body(self, request_id: str) -> dict[str, Any]:
        return {
            "type": f"urn:chatmesh:problem:{self.code}",
            "title": _TITLES.get(self.status, "Error"),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
            **self.more,
        }


def from_http_exception(error: web.HTTPException) -> Problem:
    """What aiohttp answers on its own, as a problem."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(405, "method_not_allowed", f"Allowed here: {allowed}.", headers={"Allow": allowed})
    if isinstance(error, web.HTTPNotFound):
        return Problem(
            404, "not_found", "Nothing is served at this address; /openapi.json has those that are."
        )
    if isinstance(error, web.HTTPExpectationFailed):
        return Problem(417, "expectation_failed", "Expect may be 100-continue, and nothing else.")
    codes = {413: "too_large", 400: "bad_request"}
    return Problem(error.status, codes.get(error.status, "http_error"), error.reason or "Not served.")
