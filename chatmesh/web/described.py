"""`/openapi.json`: the routes, described."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import chatmesh
from chatmesh.protocol.callers import Access
from chatmesh.web.openapi import Answer, Operation, document
from chatmesh.web.request import Request, Response, json_response
from chatmesh.web.server import Route

OPENAPI = Operation("getOpenApi", "This description.", {200: Answer("OpenAPI 3.1.", dict[str, Any])})

_DESCRIPTION = (
    "Errors are RFC 9457 problems with a stable `code`. An address that is none is a 404 `not_found`, a method that an "
    "address does not have a 405 `method_not_allowed`; both are left out below. A request whose head does not arrive in "
    "time gets a 408 `request_timeout`, and its connection ends. GET answers HEAD too, but for streams."
)


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """The document. Routes without an operation (the page's files) are no part of the API."""
    operations = [
        (route.method, route.path, _guarded(route.operation, route.access))
        for route in routes
        if route.operation
    ]
    return document(operations, title="chatmesh", version=chatmesh.__version__, description=_DESCRIPTION)


def _guarded(operation: Operation, access: Access) -> Operation:
    """With what is answered to those who may not, where callers are told apart."""
    if access is Access.OPEN:
        return operation
    problems = dict(operation.problems)
    for status, code in ((401, "unauthenticated"), (403, "missing_scope"), (429, "too_many_failures")):
        problems[status] = (*problems.get(status, ()), code)
    return replace(operation, problems=problems, is_guarded=True)


def openapi_route(routes: Sequence[Route]) -> Route:
    """Serves the description of `routes` and of itself. It is made when somebody asks for it first, since it takes a tenth of a
    second, and beside the loop, where others are read to."""
    making = asyncio.Lock()
    described: dict[str, Any] = {}

    async def handler(_request: Request) -> Response:
        async with making:
            if not described:
                described.update(await asyncio.to_thread(describe, [*routes, own]))
        return json_response(described)

    own = Route("GET", "/openapi.json", handler, OPENAPI, access=Access.OPEN)
    return own
