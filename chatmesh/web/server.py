"""The HTTP server: one listener, routes, request ids, problem answers, bounds."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from chatmesh.errors import PortInUseError, ProtocolError
from chatmesh.kernel import Service
from chatmesh.kernel.together import together
from chatmesh.protocol.callers import ANYBODY, Access
from chatmesh.protocol.tokens import new_correlation_id
from chatmesh.telemetry import get_logger, metrics
from chatmesh.web.connection import Connection
from chatmesh.web.connections import Connections
from chatmesh.web.guard import Guard
from chatmesh.web.openapi import Operation
from chatmesh.web.origins import Origins
from chatmesh.web.problem import Problem, from_http_exception
from chatmesh.web.reaper import Reaper
from chatmesh.web.request import (
    CALLER,
    CROWDED,
    MORE_HEADERS,
    REQUEST_ID,
    SET_COOKIE,
    STANDING_HEADERS,
    Request,
    Response,
    identify,
    problem_response,
)
from chatmesh.web.stream import Moved

log = get_logger("web")

Handler = Callable[[Request], Awaitable[Response]]
Refuse = Callable[[Problem, str], Response]
"""A problem, and the request's id, as an answer."""

BACKLOG = 4096
"""Connections that may wait to be accepted: a herd of reconnecting readers comes at once."""

LINGER_SECONDS = 5.0
"""How long the rest of a body that nobody wants is read away, so that its sender gets to read the answer."""

CROWDED_SECONDS = 5
"""Before one comes back whose address has too many connections."""

CANCEL_SECONDS = 1.0
"""What a handler gets to end after its connection was cut."""


@dataclass(frozen=True, slots=True)
class Route:
    """One call. `path` as aiohttp writes it: `/v1/sessions/{session_id}/events`. A GET answers HEAD too, unless it is a
    stream, which has no end to measure. `operation` is its documentation; None: no part of the API. `refuse` makes the
    answer of every failure at the path, and at what lies below its parameters. `access`: who is let in, where callers are
    told apart; nobody, unless it says otherwise. `by_ticket`: a ticket will do. `checks_session`: the handler itself sees
    whose the session is, since it may begin it, or wait for it. `says_come_back`: it is asked even where its client has too
    many connections (`CROWDED`), since it has another answer for that than a 429."""

    method: str
    path: str
    handler: Handler
    operation: Operation | None = None
    is_stream: bool = False
    refuse: Refuse = problem_response
    access: Access = Access.NOBODY
    by_ticket: bool = False
    checks_session: bool = False
    says_come_back: bool = False


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where to listen (port 0 takes a free one), and bounds in bytes and seconds."""

    host: str
    port: int
    max_body_bytes: int
    request_timeout_seconds: float
    write_timeout_seconds: float
    drain_wait_seconds: float
    shutdown_seconds: float
    origins: Origins = field(default_factory=Origins)
    max_connections_per_address: int | None = None
    share_port: bool = False
    own_port: int | None = None


async def nobody_to_tell() -> None:
    """The `leave` of a server without long answers."""


class Server(Service):
    """Listens from `started` until it has been drained, and longer: for `drain_wait_seconds` it only goes on, with the
    last answer on each connection; then `leave` tells long answers to end; then it stops listening, requests under way
    end, and what is left `shutdown_seconds` after the wait is cut."""

    def __init__(
        self,
        settings: ServerSettings,
        routes: Sequence[Route],
        *,
        leave: Callable[[], Awaitable[None]],
        guard: Guard | None = None,
    ) -> None:
        """Without a guard nobody is asked who is calling."""
        self._settings = settings
        self._guard = guard
        self.routes = routes
        self._refusals = [
            (route.path.partition("{")[0], route.refuse)
            for route in routes
            if route.refuse is not problem_response
        ]
        self._leave = leave
        self._draining = asyncio.Event()
        self._connections = Connections(settings.write_timeout_seconds, settings.max_connections_per_address)
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
            shutdown_timeout=CANCEL_SECONDS,
        )
        await runner.setup()
        reaper = Reaper(self._settings.request_timeout_seconds, Connection.close_late)
        connections = self._connections
        try:
            listeners = await self._listen(runner, connections, reaper)
            started()
            left = asyncio.Event()
            try:
                deadline, _, _ = await together(self._serve(left), reaper.run(left), connections.run(left))
            finally:
                for listener in listeners:
                    listener.close()
            await connections.finish(deadline)
        finally:
            connections.cut()
            await runner.cleanup()

    def drain(self) -> None:
        self._draining.set()

    async def _serve(self, left: asyncio.Event) -> float:
        """Until it was drained and everybody was told. Returns when the last request has to have ended (loop's time)."""
        await self._draining.wait()
        await asyncio.sleep(self._settings.drain_wait_seconds)
        deadline = asyncio.get_running_loop().time() + self._settings.shutdown_seconds
        await self._leave()
        left.set()
        return deadline

    async def _listen(
        self, runner: web.AppRunner, connections: Connections, reaper: Reaper[Connection]
    ) -> list[asyncio.Server]:
        server = runner.server
        assert server is not None  # noqa: S101 - narrows aiohttp's type; it is there after setup

        def connection() -> Connection:
            return Connection(
                server,
                reaper,
                connections,
                access_log=None,
                keepalive_timeout=75,
                lingering_time=min(LINGER_SECONDS, self._settings.request_timeout_seconds),
            )

        settings = self._settings
        listeners = [await _bind(connection, settings.host, self.port, is_shared=settings.share_port)]
        # With port 0 the operating system has chosen; a restart keeps what people were told.
        self.port = listeners[0].sockets[0].getsockname()[1]
        if settings.own_port is not None:
            try:
                listeners.append(await _bind(connection, settings.host, settings.own_port))
            except PortInUseError:
                listeners[0].close()
                raise
        log.info("web.listening", url=self.url, own_port=settings.own_port)
        return listeners

    def _application(self) -> web.Application:
        app = web.Application(
            middlewares=[self._last_answers, self._answer], client_max_size=self._settings.max_body_bytes
        )
        app.on_response_prepare.append(self._add_standing_headers)
        for route in self.routes:
            handler = self._guarded(route)
            app.router.add_route(route.method, route.path, handler)
            if route.method == "GET" and not route.is_stream:
                app.router.add_route("HEAD", route.path, handler)
        return app

    def _guarded(self, route: Route) -> Handler:
        """The one way to a handler, so that no route can forget to ask."""
        guard = self._guard

        async def handler(request: Request) -> Response:
            self._check_address(request, route)
            if guard is None:
                request[CALLER] = ANYBODY
            else:
                request[CALLER] = await guard.admit(
                    request, route.access, by_ticket=route.by_ticket, is_checked=route.checks_session
                )
            return await route.handler(request)

        return handler

    def _check_address(self, request: Request, route: Route) -> None:
        """Problem 429 `too_many_connections`."""
        connection = request.protocol
        if not isinstance(connection, Connection) or not self._connections.is_crowded(connection.address):
            return
        metrics.limited.labels("address").inc()
        if not route.says_come_back:
            raise Problem(
                429,
                "too_many_connections",
                "Too many connections come from this address.",
                retry_after_seconds=CROWDED_SECONDS,
                headers={"Connection": "close"},
            )
        request[CROWDED] = True

    @web.middleware
    async def _last_answers(self, request: Request, handler: Handler) -> Response:
        """While leaving, each connection ends with its answer: what comes next on it belongs to another process."""
        response = await handler(request)
        if self._draining.is_set():
            response.force_close()
        return response

    @web.middleware
    async def _answer(self, request: Request, handler: Handler) -> Response:
        """A request id on every answer; every failure in the words of its path."""
        identify(request, request.headers.get("X-Request-Id", ""), new_correlation_id())
        began = time.monotonic()
        try:
            response = await self._admit(request, handler)
        except Moved:
            _note(request, 200, began)
            raise
        except ConnectionResetError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is logged and answered
            response = self._refuse(request)(_problem_of(error, request), request[REQUEST_ID])
        if not response.prepared:
            response.headers.update(request.get(MORE_HEADERS, {}))
            response.headers["X-Request-Id"] = request[REQUEST_ID]
        _note(request, response.status, began)
        return response

    async def _admit(self, request: Request, handler: Handler) -> Response:
        """What a browser's page may not do is not done."""
        origin = request.headers.get("Origin")
        refusal = self._settings.origins.refusal(
            request.method,
            request.headers.get("Host", ""),
            origin,
            request.headers.get("Sec-Fetch-Site", ""),
        )
        if refusal is not None:
            raise refusal
        if request.method == "OPTIONS" and origin and "Access-Control-Request-Method" in request.headers:
            return self._preflight(request, origin)
        return await handler(request)

    def _preflight(self, request: Request, origin: str) -> Response:
        """A browser asks before a page calls. No route has OPTIONS, so what aiohttp would refuse it with names those that
        the address has."""
        refused = request.match_info.http_exception
        if not isinstance(refused, web.HTTPMethodNotAllowed):
            raise web.HTTPNotFound
        asked = request.headers.get("Access-Control-Request-Headers", "")
        answer = self._settings.origins.preflight(origin, refused.allowed_methods, asked)
        return web.Response(status=204, headers=answer)

    async def _add_standing_headers(self, request: Request, response: Response) -> None:
        if (cookie := request.get(SET_COOKIE)) is not None:
            response.headers.add("Set-Cookie", cookie)
        response.headers["Server"] = STANDING_HEADERS["Server"]  # aiohttp has put its own there
        for name, value in STANDING_HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.update(self._settings.origins.headers(request.headers.get("Origin")))

    def _refuse(self, request: Request) -> Refuse:
        """Of the path, since a wrong method or address has no route."""
        for prefix, refuse in self._refusals:
            if request.path.startswith(prefix):
                return refuse
        return problem_response


def _problem_of(error: Exception, request: Request) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, ProtocolError):
        return Problem(422, "invalid", str(error))
    if isinstance(error, web.HTTPException):
        return from_http_exception(error)
    metrics.errors.labels("web", "handler").inc()
    log.error("web.handler_failed", path=_route_of(request), request_id=request[REQUEST_ID], exc_info=error)
    return Problem(500, "internal", "This should not have happened; the log has more.")


def _note(request: Request, status: int, began: float) -> None:
    """That it was answered; for a stream, its beginning."""
    metrics.http_requests.labels(_route_of(request), status).inc()
    log.debug(
        "web.request",
        method=request.method,
        route=_route_of(request),
        status=status,
        request_id=request[REQUEST_ID],
        latency_ms=round((time.monotonic() - began) * 1000, 1),
    )


def _route_of(request: Request) -> str:
    """The route's pattern: a path would put ids into labels and logs."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


async def _bind(
    connection: Callable[[], Connection], host: str, port: int, *, is_shared: bool = False
) -> asyncio.Server:
    """Raises PortInUseError. `is_shared`: others who say so may listen there as well."""
    try:
        return await _listener(connection, host, port, is_shared=is_shared)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                "another program listens on this port",
                where=f"{host}:{port}",
                mend="Stop it, or choose another with `--set http.port=…` (0 takes a free one).",
            ) from error
        raise PortInUseError(
            f"can't listen ({error.strerror or error})",
            where=f"{host}:{port}",
            mend="Set http.host to an address of this machine, and http.port to one that you may use.",
        ) from error


async def _listener(
    connection: Callable[[], Connection], host: str, port: int, *, is_shared: bool
) -> asyncio.Server:
    """It begins to listen in a step of its own: a cancel in the middle of both would leave it behind, open."""
    listener = await asyncio.get_running_loop().create_server(
        connection, host, port, backlog=BACKLOG, reuse_port=is_shared or None, start_serving=False
    )
    try:
        await listener.start_serving()
    except BaseException:
        listener.close()
        raise
    return listener
