"""What a model's server answers when it does not answer: pure.

A status, headers and a body come in, or an error object out of a stream; an UpstreamError goes out, with a stable code, a
sentence for the reader, and whether asking again may help. No key and no address is in the sentence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from chatmesh.errors import ProviderError

MAX_WHAT = 300
"""Characters of a server's own message that a reader is shown."""

_NAMED = {
    "insufficient_quota": ("provider_rate_limited", False),
    "rate_limit_error": ("provider_rate_limited", True),
    "rate_limit_exceeded": ("provider_rate_limited", True),
    "overloaded_error": ("provider_overloaded", True),
    "api_error": ("provider_overloaded", True),
    "server_error": ("provider_overloaded", True),
    "internal_server_error": ("provider_overloaded", True),
    "timeout_error": ("provider_timeout", True),
    "authentication_error": ("provider_auth", False),
    "permission_error": ("provider_auth", False),
    "invalid_api_key": ("provider_auth", False),
    "invalid_request_error": ("provider_refused", False),
    "not_found_error": ("provider_refused", False),
    "request_too_large": ("provider_refused", False),
}
"""Codes and types of OpenAI, Anthropic and those that copy them → our code, and whether asking again may help."""

_SENTENCES = {
    "provider_auth": "the model's server refused this deployment's key or its rights",
    "provider_rate_limited": "the model's server takes no more requests now",
    "provider_overloaded": "the model's server is overloaded or broken",
    "provider_timeout": "the model's server gave up waiting",
    "provider_refused": "the model's server refused the request",
}

_SECRET = re.compile(r"\b(?:sk|pk|rk|gsk|xai)-[\w*.-]+|(?i:bearer)\s+\S+")


class UpstreamError(ProviderError):
    """`may_pass`: asking again may help, after `wait_seconds` where the server said so. `said`: its own words, with
    nothing taken out: not for readers, not for logs."""

    def __init__(
        self,
        what: str,
        *,
        code: str,
        may_pass: bool = False,
        wait_seconds: float | None = None,
        said: str = "",
    ) -> None:
        super().__init__(what, code=code)
        self.may_pass = may_pass
        self.wait_seconds = wait_seconds
        self.said = said


def incomplete() -> UpstreamError:
    return UpstreamError(
        "the model's server ended the answer without saying why", code="provider_incomplete", may_pass=True
    )


def invalid(what: str) -> UpstreamError:
    return UpstreamError(what, code="provider_invalid")


def unreachable() -> UpstreamError:
    return UpstreamError("the model's server can't be reached", code="provider_unreachable", may_pass=True)


def late(what: str) -> UpstreamError:
    return UpstreamError(what, code="provider_timeout")


def of_status(status: int, headers: Mapping[str, str], body: bytes, now: float) -> UpstreamError:
    """`headers` by lower-case name; `now` in seconds since 1970, against which a date is held."""
    if 200 <= status < 400:
        return invalid(f"the model's server answered {status} without an answer")
    said = _said(body)
    name = _name(said)
    code, may_pass = _by_status(status)
    if name == "insufficient_quota":
        may_pass = False  # a 429 that waiting does not mend
    if name and code == "provider_refused":
        code = _NAMED[name][0]  # some say 400 for a wrong key
    return _error(code, said, may_pass=may_pass, wait_seconds=retry_after(headers, now), status=status)


def of_object(said: Any) -> UpstreamError:
    """Of an error object in a stream, or in a body with status 200: OpenAI's, Anthropic's, or only a text."""
    if isinstance(said, dict) and isinstance(said.get("error"), dict | str):
        said = said["error"]
    name = _name(said)
    number = said.get("code") if isinstance(said, dict) else None
    if name in _NAMED:
        code, may_pass = _NAMED[name]
    elif isinstance(number, int) and 400 <= number < 600:
        code, may_pass = _by_status(number)
    else:
        code, may_pass = "provider_refused", False
    return _error(code, said, may_pass=may_pass)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait, from `retry-after-ms`, or `retry-after` as seconds or as a date. None where there is none that
    makes sense."""
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        elif headers.get("retry-after", "").strip()[:1].isdigit():
            seconds = float(headers["retry-after"])
        elif "retry-after" in headers:
            seconds = parsedate_to_datetime(headers["retry-after"]).timestamp() - now
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds) if seconds < float("inf") else None


def cleaned(text: str) -> str:
    """A server's words for a reader: one line, short, without what looks like a key."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    line = _SECRET.sub("***", line)
    return line if len(line) <= MAX_WHAT else f"{line[: MAX_WHAT - 1]}…"


def _error(
    code: str, said: Any, *, may_pass: bool, wait_seconds: float | None = None, status: int | None = None
) -> UpstreamError:
    what = _SENTENCES[code] + (f" ({status})" if status else "")
    words = _words(said)
    # About a key nothing is quoted: it may be in there, and it is the operator's business.
    if words and code != "provider_auth":
        what = f"{what}: {cleaned(words)}"
    return UpstreamError(what, code=code, may_pass=may_pass, wait_seconds=wait_seconds, said=words)


def _by_status(status: int) -> tuple[str, bool]:
    if status in (401, 403):
        return "provider_auth", False
    if status == 429:
        return "provider_rate_limited", True
    if status in (408, 504):
        return "provider_timeout", True
    return ("provider_overloaded", True) if status == 409 or status >= 500 else ("provider_refused", False)


def _said(body: bytes) -> Any:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        # Somebody's gateway: its page is no message for a reader.
        text = body.decode(errors="replace").strip()
        return "" if text.startswith("<") else text
    if isinstance(value, list) and value:
        value = value[0]  # Gemini's compatible endpoint
    if isinstance(value, dict):
        return value.get("error", value)
    return value


def _name(said: Any) -> str:
    if not isinstance(said, dict):
        return ""
    names = [name for name in (said.get("code"), said.get("type")) if isinstance(name, str)]
    return next((name for name in names if name in _NAMED), "")


def _words(said: Any) -> str:
    if isinstance(said, str):
        return said
    if not isinstance(said, dict):
        return ""
    for key in ("message", "detail", "error"):
        if isinstance(said.get(key), str):
            return str(said[key])
    # FastAPI's list of what does not fit, such as vLLM's: it names the field.
    return orjson.dumps(said["detail"]).decode() if "detail" in said else ""
