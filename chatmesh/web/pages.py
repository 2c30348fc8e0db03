"""The chat page at `/`: files of the package, read once."""

from __future__ import annotations

from importlib.resources import files

from aiohttp import web

from chatmesh.protocol.callers import Access
from chatmesh.web.openapi import Answer, Operation
from chatmesh.web.request import Request, Response
from chatmesh.web.server import Handler, Route

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

PAGE = Operation("getPage", "The chat page.", {200: Answer("For browsers.", str, "text/html")})

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def page_routes() -> list[Route]:
    """`/` and the files beside it, which it names as `/page/…`."""
    folder = files("chatmesh.web").joinpath("page")
    routes = [
        Route(
            "GET", "/", _serve(folder.joinpath("index.html").read_bytes(), "html"), PAGE, access=Access.OPEN
        )
    ]
    for entry in folder.iterdir():
        ending = entry.name.rpartition(".")[2]
        if entry.is_file() and ending in _TYPES:
            routes.append(
                Route("GET", f"/page/{entry.name}", _serve(entry.read_bytes(), ending), access=Access.OPEN)
            )
    return routes


def _serve(body: bytes, ending: str) -> Handler:
    async def handler(_request: Request) -> Response:
        return web.Response(body=body, content_type=_TYPES[ending], charset="utf-8", headers=_HEADERS)

    return handler
