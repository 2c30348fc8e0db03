"""The chat page at `/`, the API's page at `/docs` and the browser's client at `/client.js`: files of the package, read once.

`page/`, `reference/` and `client/` are folders beside this file; the last one is also the npm package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import web

from chatmesh.errors import CapacityError
from chatmesh.protocol.callers import Access
from chatmesh.web.openapi import Answer, Operation
from chatmesh.web.problem import Problem
from chatmesh.web.request import Request, Response, json_response
from chatmesh.web.server import Handler, Route

_TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    # Types, for editors; a browser never asks for them.
    "ts": "text/plain",
}

ASIDE = ("/page/", "/reference/", "/client/", "/ops/")
"""Where files lie that the pages and the client name: no part of the API."""

PAGE = Operation("getPage", "The chat page.", {200: Answer("For browsers.", str, "text/html")})
REFERENCE = Operation(
    "getDocs", "This description, to read.", {200: Answer("For browsers.", str, "text/html")}
)
CLIENT = Operation(
    "getClient", "The client for browsers.", {200: Answer("A JavaScript module.", str, "text/javascript")}
)
TYPES = Operation(
    "getClientTypes", "Its types.", {200: Answer("TypeScript declarations.", str, "text/plain")}
)

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def page_routes(*, is_development: bool = False, fell: Callable[[], None] | None = None) -> list[Route]:
    """`/`, `/docs` and `/client.js`, and the files that they name. `is_development`: the page shows what helps to try things out.
    `fell` kills the worker of this process, and raises CapacityError where it was done too often."""
    page, reference, client = (
        files("chatmesh.web").joinpath(name) for name in ("page", "reference", "client")
    )
    index = page.joinpath("index.html").read_bytes()
    if is_development:
        shown = b"plug" if fell is None else b"plug worker"
        index = index.replace(b"<html ", b'<html data-development="%b" ' % shown, 1)
    return [
        *([] if fell is None else [_killing(fell)]),
        file_route("/", index, "html", PAGE),
        file_route("/docs", reference.joinpath("index.html").read_bytes(), "html", REFERENCE),
        file_route("/client.js", client.joinpath("client.js").read_bytes(), "js", CLIENT),
        file_route("/client.d.ts", client.joinpath("client.d.ts").read_bytes(), "ts", TYPES),
        *folder_routes("/client/", client.joinpath("client")),
        *folder_routes("/page/", page),
        *folder_routes("/reference/", reference),
    ]


def _killing(fell: Callable[[], None]) -> Route:
    async def kill(_request: Request) -> Response:
        try:
            fell()
        except CapacityError as error:
            raise Problem(429, "rate_limited", str(error), retry_after_seconds=60) from error
        return json_response({"status": "killed"}, status=202)

    return Route("POST", "/dev/worker/kill", kill, access=Access.OPERATE)


def folder_routes(prefix: str, folder: Traversable) -> Iterator[Route]:
    """Its files, those in folders below it too."""
    for entry in folder.iterdir():
        ending = entry.name.rpartition(".")[2]
        if entry.is_dir():
            yield from folder_routes(f"{prefix}{entry.name}/", entry)
        elif ending in _TYPES:
            yield file_route(f"{prefix}{entry.name}", entry.read_bytes(), ending)


def file_route(path: str, body: bytes, ending: str, operation: Operation | None = None) -> Route:
    """`body` at `path`, to anybody. `ending` is its file's."""
    return Route("GET", path, _serve(body, ending), operation, access=Access.OPEN)


def _serve(body: bytes, ending: str) -> Handler:
    etag = hashlib.sha256(body).hexdigest()[:32]

    async def handler(request: Request) -> Response:
        known = {each.value for each in request.if_none_match or ()}
        if etag in known:
            response = web.Response(status=304, headers=_HEADERS)
        else:
            response = web.Response(body=body, content_type=_TYPES[ending], charset="utf-8", headers=_HEADERS)
        response.etag = etag
        return response

    return handler
