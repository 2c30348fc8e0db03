"""Requests and answers, as handlers see them."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiohttp import web

from chatmesh.web.problem import Problem

Request = web.Request
Response = web.StreamResponse

REQUEST_ID = web.RequestKey("request_id", str)


def json_response(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """`body` as JSON."""
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/json", headers=headers
    )


def empty_response(status: int) -> web.Response:
    return web.Response(status=status)


async def read_body(request: Request, *, max_bytes: int, seconds: float) -> bytes:
    """The body, bounded in size and time. Problem 413 `too_large`, 408 `request_timeout`."""
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise Problem(413, "too_large", f"The body may have {max_bytes} bytes at most.") from error
    except TimeoutError as error:
        raise Problem(
            408,
            "request_timeout",
            f"The body did not arrive within {seconds:g} s.",
            headers={"Connection": "close"},
        ) from error
