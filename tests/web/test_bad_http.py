"""Whatever is sent: an error is a problem document, never a 5xx for what the client did wrong, and no log is filled."""

from __future__ import annotations

import gzip
import inspect
import logging
import zlib
from typing import Any

import pytest
from aiohttp import web

from chatmesh.web.connection import Connection
from tests.web.serving import Reply, serving

HOST = b"\r\nHost: x"
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"


def get(line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([line, b"Host: x", *headers, b"", b""])


def post(*headers: bytes, body: bytes = b"") -> bytes:
    return get(b"POST /echo HTTP/1.1", *headers) + body


def encoded(encoding: bytes, body: bytes) -> bytes:
    return post(b"Content-Encoding: " + encoding, b"Content-Length: %d" % len(body), body=body)


CHUNKED = b"Transfer-Encoding: chunked"

NO_HTTP = {
    "words": b"hello world\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown version": get(b"GET /ok HTTP/9.9"),
    "unknown method": get(b"FOO /ok HTTP/1.1"),
    "no path": get(b"GET ok HTTP/1.1"),
    "raw bytes in the path": get(b"GET /\xff HTTP/1.1"),
    "impossible port": get(b"GET http://x:99999/ok HTTP/1.1"),
    "open bracket": get(b"GET http://[::1/ok HTTP/1.1"),
    "no Host": b"GET /ok HTTP/1.1\r\n\r\n",
    "header without a colon": get(b"GET /ok HTTP/1.1", b"foo"),
    "NUL in a header": get(b"GET /ok HTTP/1.1", b"X: a\0b"),
    "too many headers": get(b"GET /ok HTTP/1.1", *[b"X: a"] * 200),
    "two lengths": post(b"Content-Length: 1", b"Content-Length: 2", body=b"ab"),
    "length and chunks": post(b"Content-Length: 1", CHUNKED, body=b"0\r\n\r\n"),
    "negative length": post(b"Content-Length: -1"),
    "unknown transfer encoding": post(b"Transfer-Encoding: foo"),
    "bad chunk size": post(CHUNKED, body=b"zz\r\nhi\r\n0\r\n\r\n"),
    "chunk longer than it says": post(CHUNKED, body=b"5\r\nhiXXXXXXXX\r\n0\r\n\r\n"),
    "not gzip": encoded(b"gzip", b"nope" * 10),
    "not deflate": encoded(b"deflate", b"\xff" * 40),
}
OTHER = {
    "long header": (431, "head_too_large", get(b"GET /ok HTTP/1.1", b"X: " + b"a" * 9000)),
    "long address": (431, "head_too_large", get(b"GET /" + b"a" * 9000 + b" HTTP/1.1")),
    "unknown encoding": (415, "unsupported_encoding", encoded(b"foo", b"{}")),
    "encoding that is not installed": (415, "unsupported_encoding", encoded(b"br", b"{}")),
    "too large": (413, "too_large", encoded(b"identity", b" " * 200_000)),
    "too large when inflated": (413, "too_large", encoded(b"gzip", gzip.compress(b" " * 10_000_000))),
    "unknown expectation": (417, "expectation_failed", get(b"GET /ok HTTP/1.1", b"Expect: foo")),
    "unknown address": (404, "not_found", get(b"GET /nowhere HTTP/1.1")),
    "encoded slash": (404, "not_found", get(b"GET /%2Fok HTTP/1.1")),
    "two slashes": (404, "not_found", get(b"GET //ok HTTP/1.1")),
    "no address": (404, "not_found", get(b"OPTIONS * HTTP/1.1")),
    "CONNECT": (404, "not_found", get(b"CONNECT x:80 HTTP/1.1")),
    "TRACE": (405, "method_not_allowed", get(b"TRACE /ok HTTP/1.1")),
    "PROPFIND": (405, "method_not_allowed", get(b"PROPFIND /ok HTTP/1.1")),
    "failing handler": (500, "internal", get(b"GET /broken HTTP/1.1")),
}
FINE = {
    "HTTP/1.0": b"GET /ok HTTP/1.0\r\n\r\n",
    "whole address": get(b"GET http://elsewhere/ok HTTP/1.1"),
    "asks for an upgrade": get(b"GET /ok HTTP/1.1", b"Connection: Upgrade", b"Upgrade: websocket"),
    "odd Host": b"GET /ok HTTP/1.1\r\nHost: [::\r\n\r\n",
    "odd cookie": get(b"GET /ok HTTP/1.1", b"Cookie: =;\xff"),
    "odd content type": post(b"Content-Type: ;;;=\xff", b"Content-Length: 2", body=b"{}"),
    "gzip": encoded(b"gzip", gzip.compress(b"{}")),
    "deflate": encoded(b"deflate", zlib.compress(b"{}")),
}


async def reply_to(sent: bytes) -> Reply:
    async with serving(request_timeout_seconds=30) as served:
        wire = await served.connect(sent)
        reply = await wire.reply()
        await wire.close()
        return reply


@pytest.mark.parametrize("name", NO_HTTP)
async def test_what_is_no_http_is_a_400_problem(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(request_timeout_seconds=30) as served:
        wire = await served.connect(NO_HTTP[name])
        reply = await wire.reply()
        assert await wire.rest() == b""
        await wire.close()
    assert (reply.status, reply.problem["code"]) == (400, "bad_http")
    assert_standing(reply)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("name", OTHER)
async def test_every_other_error_is_a_problem_with_its_code(name: str) -> None:
    status, code, sent = OTHER[name]
    reply = await reply_to(sent)
    assert (reply.status, reply.problem["code"]) == (status, code)
    assert b"secret" not in reply.body
    assert b"Traceback" not in reply.body
    assert_standing(reply)


@pytest.mark.parametrize("name", FINE)
async def test_what_only_looks_odd_is_served(name: str) -> None:
    reply = await reply_to(FINE[name])
    assert reply.status == 200
    assert_standing(reply)


def assert_standing(reply: Reply) -> None:
    assert reply.headers["server"] == "chatmesh"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-request-id"]


async def test_wrong_method_names_the_right_ones() -> None:
    reply = await reply_to(get(b"PUT /ok HTTP/1.1"))
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_head_says_what_get_would_without_the_body() -> None:
    async with serving() as served:
        wire = await served.connect(get(b"HEAD /ok HTTP/1.1") + get(b"GET /ok HTTP/1.1"))
        head, whole = await wire.reply(has_body=False), await wire.reply()
        await wire.close()
    assert head.status == whole.status == 200
    assert {**head.headers, "x-request-id": ""} == {**whole.headers, "x-request-id": ""}


async def test_head_of_a_stream_is_405() -> None:
    async with serving() as served:
        wire = await served.connect(get(b"HEAD /stream HTTP/1.1"))
        reply = await wire.reply(has_body=False)
        await wire.close()
    assert (reply.status, reply.headers["allow"]) == (405, "GET")


async def test_stream_has_the_standing_headers_and_keeps_its_own() -> None:
    async with serving() as served:
        wire = await served.connect(get(b"GET /stream HTTP/1.1", b"X-Request-Id: mine"))
        headers = (await wire.reply()).headers
        await wire.close()
    assert (headers["server"], headers["x-content-type-options"]) == ("chatmesh", "nosniff")
    assert (headers["cache-control"], headers["x-request-id"]) == ("no-cache, no-transform", "mine")


async def test_connection_serves_on_after_an_error_that_is_only_the_requests() -> None:
    async with serving() as served:
        wire = await served.connect()
        for line, status in [
            (b"GET /nowhere", 404),
            (b"PUT /ok", 405),
            (b"GET /broken", 500),
            (b"GET /ok", 200),
        ]:
            wire.send(get(line + b" HTTP/1.1"))
            assert (await wire.reply()).status == status
        await wire.close()


async def test_bad_http_behind_good_is_a_400_problem() -> None:
    async with serving() as served:
        wire = await served.connect(get(b"GET /ok HTTP/1.1"))
        assert (await wire.reply()).status == 200
        wire.send(b"nonsense\r\n\r\n")
        assert (await wire.reply()).problem["code"] == "bad_http"
        assert await wire.rest() == b""
        await wire.close()


@pytest.mark.parametrize(
    "name", ["connection_made", "connection_lost", "data_received", "finish_response", "handle_error"]
)
def test_aiohttp_still_has_the_methods_that_a_connection_overrides(name: str) -> None:
    assert name in vars(Connection)
    theirs = inspect.signature(getattr(web.RequestHandler, name)).parameters
    assert list(theirs) == list(inspect.signature(getattr(Connection, name)).parameters)


def test_aiohttp_still_counts_heads_and_queues_them() -> None:
    assert {"_request_count", "_messages"} <= set(web.RequestHandler.__slots__)


SECRET = b"s3cret-of-a-ticket"
QUOTED = {
    "query": b"GET /ok?ticket=%b\x0b HTTP/1.1\r\n",
    "version": b"GET /ok?ticket=%b HTTP/9.9 \r\n",
    "method": b"GET\x0b /ok?ticket=%b HTTP/1.1\r\n",
    "header": b"GET /ok HTTP/1.1\r\nCookie: %b\x00\r\n",
    "name of a header": b"GET /ok HTTP/1.1\r\nAuthorization : %b\r\n",
    "line without a colon": b"GET /ok HTTP/1.1\r\n%b\r\n",
    "address": b"GET http://[%b HTTP/1.1\r\n",
    "port": b"GET http://x:%b/ok HTTP/1.1\r\n",
    "length": b"POST /ok HTTP/1.1\r\nContent-Length: %b\r\n",
    "coding": b"POST /ok HTTP/1.1\r\nTransfer-Encoding: %b\r\n",
    "long address": b"GET /ok?ticket=%b" + b"x" * 9000 + b" HTTP/1.1\r\n",
    "long header": b"GET /ok HTTP/1.1\r\nX-Api-Key: %b" + b"x" * 9000 + b"\r\n",
    "two hosts": b"GET /ok?ticket=%b HTTP/1.1\r\nHost: y\r\n",
}


async def test_nothing_of_what_is_no_http_is_in_the_log_or_the_answer(
    logs: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A ticket stands in the address, a token in a header, and the parser quotes both."""
    async with serving() as served:
        for name, sent in QUOTED.items():
            wire = await served.connect(sent % SECRET + b"Host: x\r\n\r\n")
            reply = await wire.reply()
            await wire.close()
            assert 400 <= reply.status < 500, name
            assert SECRET not in reply.body, name
    assert sum(line["event"] == "web.bad_http" for line in logs) >= len(QUOTED) - 2
    assert SECRET.decode() not in str(logs)
    assert SECRET.decode() not in caplog.text
