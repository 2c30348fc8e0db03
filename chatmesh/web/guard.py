"""Who is calling, and may they? Asked in one place, before any handler: a route says what it needs, and one that says nothing
lets nobody in.

In: a request. Out: its caller, or a Problem. Knows neither keys nor tokens, nor whose a session is: it asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from chatmesh.errors import BrokerError, ChatmeshError
from chatmesh.protocol.callers import ANYBODY, Access, Caller
from chatmesh.protocol.openai_ids import read_response_id
from chatmesh.protocol.tokens import Token, is_token
from chatmesh.telemetry import get_logger, metrics
from chatmesh.web.connection import Connection
from chatmesh.web.failures import FailedTries
from chatmesh.web.problem import Problem
from chatmesh.web.request import Request
from chatmesh.web.tickets import PARAMETER

log = get_logger("web")

MAX_CREDENTIAL = 8192
"""Characters; what is longer is not looked at."""

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="chatmesh"'}

Identify = Callable[[str], Awaitable[Caller]]
"""A key or token's caller. Raises ChatmeshError where there is none; its text has nothing of what was sent."""

Owns = Callable[[Caller, Token], Awaitable[bool]]
"""Whether the caller may see the session. Raises BrokerError."""


class Tickets(Protocol):
    """For clients that can't send headers."""

    async def admit(self, request: Request) -> Caller | None:
        """The caller whose ticket it brings; None: it brings none. Raises Problem, ChatmeshError."""


def unknown_session() -> Problem:
    """The same for what is another's and for what is nobody's."""
    return Problem(404, "unknown_session", "Nobody has said anything in this session.")


def unknown_response() -> Problem:
    return Problem(404, "unknown_response", "There is no such response, or its session was erased.")


class Guard:
    """Nothing but what it asks."""

    def __init__(
        self,
        identify: Identify,
        owns: Owns,
        tickets: Tickets | None = None,
        tries: FailedTries | None = None,
    ) -> None:
        self._identify = identify
        self._owns = owns
        self._tickets = tickets
        self._tries = tries if tries is not None else FailedTries(None)

    async def admit(self, request: Request, access: Access, *, by_ticket: bool, is_checked: bool) -> Caller:
        """The request's caller, who may do what the route does, in the session that the path names. `is_checked`: the
        handler sees to that last part itself. Problem 401 `unauthenticated`, 403 `missing_scope` or `origin_not_allowed`, 404,
        429 `too_many_failures`, 503 `broker_away`."""
        if access is Access.OPEN:
            return ANYBODY
        caller = await self._caller(request, by_ticket=by_ticket)
        if not caller.may(access):
            raise Problem(
                403, "missing_scope", f"This needs the scope {access}, which this caller does not have."
            )
        if not is_checked:
            await self._check_session(request, caller)
        return caller

    async def _caller(self, request: Request, *, by_ticket: bool) -> Caller:
        """Who it is, unless too many tries from its address failed lately."""
        address, brought = _address_of(request), _brought(request, by_ticket=by_ticket)
        self._tries.check(address, brought)
        try:
            caller = await self._known(request, by_ticket=by_ticket)
        except Problem as problem:
            if problem.status == 401:
                self._tries.failed(address, brought)
            raise
        self._tries.proved(brought)
        return caller

    async def _known(self, request: Request, *, by_ticket: bool) -> Caller:
        try:
            if by_ticket and self._tickets is not None:
                ticketed = await self._tickets.admit(request)
                if ticketed is not None:
                    return ticketed
            return await self._identify(credential_of(request))
        except BrokerError as error:
            raise _away() from error
        except ChatmeshError as error:
            metrics.errors.labels("web", "unauthenticated").inc()
            detail = f"{error.what[:1].upper()}{error.what[1:]}."
            raise Problem(401, "unauthenticated", detail, headers=CHALLENGE) from error

    async def _check_session(self, request: Request, caller: Caller) -> None:
        session_id, unknown = _session_of(request)
        if session_id is None:
            return
        try:
            if not await self._owns(caller, session_id):
                raise unknown()
        except BrokerError as error:
            raise _away() from error


def credential_of(request: Request) -> str:
    """Problem 401 `unauthenticated` where there is none, or more than one."""
    given = request.headers.getall("Authorization", [])
    if len(given) > 1:
        raise _unauthenticated("Authorization was sent more than once.")
    if given:
        scheme, _, credential = given[0].partition(" ")
        if scheme.lower() != "bearer" or not credential.strip():
            raise _unauthenticated("Authorization has to be `Bearer` and a key or token.")
        text = credential.strip()
    else:
        text = request.headers.get("x-api-key", "")
    if not text:
        raise _unauthenticated("Send `Authorization: Bearer …` or `x-api-key`.")
    if len(text) > MAX_CREDENTIAL or not text.isascii() or not text.isprintable():
        raise _unauthenticated("This is no key and no token.")
    return text


def _brought(request: Request, *, by_ticket: bool) -> str:
    """Whatever it proves itself with, good or not."""
    ticket: str = request.query.get(PARAMETER, "") if by_ticket else ""
    return ticket or request.headers.get("Authorization", "") or request.headers.get("x-api-key", "")


def _address_of(request: Request) -> str:
    return request.protocol.address if isinstance(request.protocol, Connection) else ""


def _session_of(request: Request) -> tuple[Token | None, Callable[[], Problem]]:
    """The session that the path names. What is no id is the handler's to refuse."""
    named = request.match_info.get("session_id")
    if named is not None:
        return (Token(named) if is_token(named) else None), unknown_session
    ids = read_response_id(request.match_info.get("response_id", ""))
    return (ids[0] if ids is not None else None), unknown_response


def _unauthenticated(detail: str) -> Problem:
    return Problem(401, "unauthenticated", detail, headers=CHALLENGE)


def _away() -> Problem:
    return Problem(503, "broker_away", "NATS is away: whose this is can't be read.", retry_after_seconds=2)
