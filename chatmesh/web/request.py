"""Requests and answers, as handlers see them."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import orjson
from aiohttp import web

from chatmesh.protocol.callers import Caller
from chatmesh.telemetry import metrics
from chatmesh.web.problem import Problem

_CLOSE = {"Connection": "close"}

Request = web.Request
Response = web.StreamResponse

REQUEST_ID = web.RequestKey("request_id", str)
"""The correlation id: on the answer as `X-Request-Id`, and in the log."""

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,256}")
"""What can stand in a header."""

MORE_HEADERS = web.RequestKey("more_headers", dict[str, str])
"""What a handler has put there stands on the answer, on that to its failure too; an event stream has its own."""

CALLER = web.RequestKey("caller", Caller)
"""Who is calling: there for every handler."""

CROWDED = web.RequestKey("crowded", bool)
"""Its address has too many connections, and its route says so itself."""

SEAT = web.RequestKey("seat", object)
"""What the hub keeps for the reader that this request is going to be."""

SET_COOKIE = web.RequestKey("set_cookie", str)
"""A cookie to be set by the answer, whatever kind it is."""

STANDING_HEADERS = {"Server": "chatmesh", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
"""On every answer that does not say otherwise. No versions: they help nobody but attackers."""

ENCODINGS = ("identity", "gzip", "deflate")
"""What a body may be encoded as. aiohttp undoes them, and takes a body as it comes where it does not know the name."""


def json_response(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """`body` as JSON."""
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/json", headers=headers
    )


def text_response(text: str, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(text=text, status=status, headers=headers)


def empty_response(status: int) -> web.Response:
    return web.Response(status=status)


def problem_response(problem: Problem, request_id: str) -> web.Response:
    response = json_response(problem.body(request_id), status=problem.status, headers=problem.answer_headers)
    response.content_type = "application/problem+json"
    response.headers["X-Request-Id"] = request_id
    return response


def identify(request: Request, *ids: str) -> None:
    """The first of `ids` that can stand in a header is the request's from now on; where none can it keeps its own."""
    for given in ids:
        if _REQUEST_ID.fullmatch(given):
            request[REQUEST_ID] = given
            return


def accepts(request: Request, media_type: str) -> bool:
    """Whether `Accept` names that very type, and not as one that is unwelcome (`q=0`)."""
    for media_range in ",".join(request.headers.getall("Accept", ())).split(","):
        name, *parameters = (part.strip().lower() for part in media_range.split(";"))
        if name == media_type:
            return not any(re.fullmatch(r"q\s*=\s*0(\.0*)?", parameter) for parameter in parameters)
    return False


def unsupported_encoding(got: str) -> Problem:
    return Problem(
        415,
        "unsupported_encoding",
        f"Content-Encoding may be {', '.join(ENCODINGS)}, not {got}.",
        headers={"Accept-Encoding": ", ".join(ENCODINGS[1:])},
    )


async def read_body(request: Request, *, max_bytes: int, seconds: float) -> bytes:
    """The body, bounded in size and time. Problem 400 `bad_http`, 408 `request_timeout`, 413 `too_large`, 415
    `unsupported_encoding`."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ENCODINGS:
        raise unsupported_encoding(f"{encoding:.40}")
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise Problem(413, "too_large", f"The body may have {max_bytes} bytes at most.") from error
    except web.RequestPayloadError as error:
        raise Problem(
            400, "bad_http", "The body is not framed or encoded as its headers say.", headers=_CLOSE
        ) from error
    except TimeoutError as error:
        metrics.http_late.labels("body").inc()
        raise Problem(
            408,
            "request_timeout",
            f"The body did not arrive within {seconds:g} s.",
            headers=_CLOSE,
        ) from error
