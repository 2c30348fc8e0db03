"""The HTTP server: one listener, routes, request ids, problem answers, bounds."""

from __future__ import annotations

import asyncio
import errno
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from chatmesh.errors import PortInUseError, ProtocolError
from chatmesh.kernel import Service
from chatmesh.protocol.tokens import new_correlation_id
from chatmesh.telemetry import get_logger, metrics
from chatmesh.web.problem import Problem
from chatmesh.web.request import REQUEST_ID, Request, Response, json_response

log = get_logger("web")

Handler = Callable[[Request], Awaitable[Response]]

BACKLOG = 4096
"""Connections that may wait to be accepted: a herd of reconnecting readers comes at once."""

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class Route:
    """One call. `path` as aiohttp writes it: `/v1/sessions/{session_id}/events`."""

    method: str
    path: str
    handler: Handler


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where to listen (port 0 takes a free one), and bounds in bytes and seconds."""

    host: str
    port: int
    max_body_bytes: int
    shutdown_seconds: float


class Server(Service):
    """Listens from `started` until it is drained. `on_drain` is called first: it tells long answers to end."""

    def __init__(
        self, settings: ServerSettings, routes: Sequence[Route], *, on_drain: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._routes = routes
        self._on_drain = on_drain
        self._draining = asyncio.Event()
        self.port = settings.port

    @property
    def url(self) -> str:
        host = self._settings.host
        shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not bound
        return f"http://[{shown}]:{self.port}" if ":" in shown else f"http://{shown}:{self.port}"

    async def run(self, started: Callable[[], None]) -> None:
        runner = web.AppRunner(
            self._application(),
            # A reader who leaves ends its handler; otherwise a silent stream would be found dead only by writing.
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=self._settings.shutdown_seconds,
            keepalive_timeout=75,
        )
        await runner.setup()
        try:
            site = await self._listen(runner)
            started()
            await self._draining.wait()
            await site.stop()
            self._on_drain()
        finally:
            await runner.cleanup()

    def drain(self) -> None:
        self._draining.set()

    async def _listen(self, runner: web.AppRunner) -> web.TCPSite:
        site = web.TCPSite(runner, self._settings.host, self.port, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(
                    "another program listens on this port",
                    where=f"{self._settings.host}:{self.port}",
                    mend="Stop it, or choose another with `--set http.port=…` (0 takes a free one).",
                ) from error
            raise PortInUseError(
                f"can't listen ({error.strerror or error})",
                where=f"{self._settings.host}:{self.port}",
                mend="Set http.host to an address of this machine, and http.port to one that you may use.",
            ) from error
        # With port 0 the operating system has chosen; a restart keeps what people were told.
        self.port = runner.addresses[0][1]
        log.info("web.listening", url=self.url)
        return site

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[_middleware], client_max_size=self._settings.max_body_bytes)
        for route in self._routes:
            app.router.add_route(route.method, route.path, route.handler)
        return app


@web.middleware
async def _middleware(request: Request, handler: Handler) -> Response:
    """A request id on every answer; every failure a problem document."""
    asked = request.headers.get("X-Request-Id", "")
    request_id = asked if _REQUEST_ID.fullmatch(asked) else new_correlation_id()
    request[REQUEST_ID] = request_id
    began = time.monotonic()
    try:
        response = await handler(request)
    except Problem as problem:
        response = _answer(problem, request_id)
    except ProtocolError as error:
        response = _answer(Problem(422, "invalid", str(error)), request_id)
    except web.HTTPException as error:
        response = _answer(_from_aiohttp(error), request_id)
    except ConnectionResetError:
        raise
    except Exception:
        metrics.errors.labels("web", "handler").inc()
        log.exception("web.handler_failed", path=_route_of(request), request_id=request_id)
        response = _answer(
            Problem(500, "internal", "This should not have happened; the log has more."), request_id
        )
    if not response.prepared:
        response.headers["X-Request-Id"] = request_id
    metrics.http_requests.labels(_route_of(request), response.status).inc()
    log.debug(
        "web.request",
        method=request.method,
        route=_route_of(request),
        status=response.status,
        request_id=request_id,
        latency_ms=round((time.monotonic() - began) * 1000, 1),
    )
    return response


def _answer(problem: Problem, request_id: str) -> web.Response:
    response = json_response(problem.body(request_id), status=problem.status, headers=problem.headers)
    response.content_type = "application/problem+json"
    if problem.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(problem.retry_after_seconds)
    return response


def _from_aiohttp(error: web.HTTPException) -> Problem:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(405, "method_not_allowed", f"Allowed here: {allowed}.", headers={"Allow": allowed})
    codes = {404: "not_found", 413: "too_large", 400: "bad_request"}
    return Problem(error.status, codes.get(error.status, "http_error"), error.reason or "Not served.")


def _route_of(request: Request) -> str:
    """The route's pattern: a path would put ids into labels and logs."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"
