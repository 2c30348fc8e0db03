"""`/healthz`, `/readyz`, `/metrics`: what orchestrators and Prometheus ask."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from typing_extensions import TypedDict

from chatmesh.protocol.callers import Access
from chatmesh.web.openapi import Answer, Operation
from chatmesh.web.problem import Problem
from chatmesh.web.request import Request, Response, json_response
from chatmesh.web.server import Route


class State(TypedDict):
    status: str


HEALTHZ = Operation("getHealth", "Alive: the process turns.", {200: Answer("It does.", State)})
READYZ = Operation(
    "getReadiness",
    "Ready: messages and streams can be served.",
    {200: Answer("They can.", State)},
    {503: ("not_ready",)},
)
METRICS = Operation(
    "getMetrics", "Measurements, for Prometheus.", {200: Answer("All of them.", str, "text/plain")}
)


def probe_routes(
    is_ready: Callable[[], bool], status: Callable[[], str], *, open_metrics: bool = True
) -> list[Route]:
    """Alive: the loop turns. Ready: new messages and streams can be served. `open_metrics`: nobody is asked who reads them."""

    async def healthz(_request: Request) -> Response:
        return json_response({"status": "alive"})

    async def readyz(_request: Request) -> Response:
        if not is_ready():
            raise Problem(503, "not_ready", f"This process is {status()}.", retry_after_seconds=2)
        return json_response({"status": "ready"})

    async def metrics(_request: Request) -> Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [
        Route("GET", "/healthz", healthz, HEALTHZ, access=Access.OPEN),
        Route("GET", "/readyz", readyz, READYZ, access=Access.OPEN),
        Route(
            "GET",
            "/metrics",
            metrics,
            METRICS,
            access=Access.OPEN if open_metrics else Access.OPERATE,
        ),
    ]
