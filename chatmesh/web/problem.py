"""Errors as RFC 9457 `application/problem+json`: a stable `code`, what was expected, what was got, no stack trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_TITLES = {
    400: "Not JSON",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Request too slow",
    413: "Too large",
    415: "Unsupported media type",
    422: "Not valid",
    429: "Too many",
    500: "Internal error",
    503: "Not available now",
    504: "Outcome unknown",
}


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818 - the RFC's word for it
    """Raise it in a handler; the server turns it into the answer. `more` are further members of the body."""

    status: int
    code: str
    detail: str
    retry_after_seconds: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)

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
