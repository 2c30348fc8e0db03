"""What a server says when it does not answer, in words for a reader."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from chatmesh.providers.faults import MAX_WHAT, UpstreamError, cleaned, of_object, of_status, retry_after

NOW = 1_800_000_000.0


def of(status: int, body: Any = b"") -> UpstreamError:
    return of_status(status, {}, body if isinstance(body, bytes) else orjson.dumps(body), NOW)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no model", "type": "invalid_request_error"}}, ": no model"),
        ({"error": "no model"}, ": no model"),
        ([{"error": {"message": "no model"}}], ": no model"),
        ({"object": "error", "message": "no model", "code": 400}, ": no model"),
        ({"detail": "no model"}, ": no model"),
        ({"detail": [{"loc": ["body", "top_k"], "msg": "extra"}]}, '"top_k"'),
        (b"no\x00  model\n", ": no model"),
        (b"<html>no model</html>", "(400)"),
        (b"", "(400)"),
        (b"[]", "(400)"),
        (b"7", "(400)"),
        ({"error": {"message": 7}}, "(400)"),
    ],
)
def test_the_servers_words_are_found_wherever_they_stand(body: Any, words: str) -> None:
    error = of(400, body)
    assert error.code == "provider_refused"
    assert words in error.what
    assert error.what.isprintable()


@pytest.mark.parametrize(
    ("said", "code", "may_pass"),
    [
        ({"error": {"type": "overloaded_error"}}, "provider_overloaded", True),
        ({"error": {"code": 502, "message": "bad"}}, "provider_overloaded", True),
        ({"error": {"code": 429}}, "provider_rate_limited", True),
        ({"error": {"type": "authentication_error"}}, "provider_auth", False),
        ({"error": {"type": "server_error", "code": None}}, "provider_overloaded", True),
        ({"error": "model 'x' not found"}, "provider_refused", False),
        ({"object": "error", "code": 400}, "provider_refused", False),
        ({}, "provider_refused", False),
    ],
)
def test_an_error_in_a_stream_says_what_it_is(said: Any, code: str, may_pass: bool) -> None:
    error = of_object(said)
    assert (error.code, error.may_pass) == (code, may_pass)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}, 30.0),
        ({"retry-after": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after-ms": "nan"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_understood_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


def test_what_looks_like_a_key_is_taken_out_and_long_texts_are_cut() -> None:
    assert cleaned("got sk-proj-abc_123*** and Bearer xyz.") == "got *** and ***"
    assert cleaned("a\n\tb\x1b[31m") == "a b [31m"
    assert len(cleaned("x" * 10_000)) == MAX_WHAT


def test_about_a_key_nothing_is_quoted() -> None:
    assert "mykey" not in of(401, {"error": {"message": "mykey is wrong"}}).what
