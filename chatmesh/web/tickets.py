"""Tickets for clients that can't send headers, such as a browser's EventSource.

The first use of a ticket sets a cookie for that session's events, since EventSource reconnects to the same address, where its
ticket is spent. A ticket stands in an address: it is never logged, and nothing else is got with it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from chatmesh.errors import ChatmeshError
from chatmesh.protocol.callers import Caller
from chatmesh.protocol.tokens import Token, is_token
from chatmesh.web.origins import Origins, not_allowed
from chatmesh.web.problem import Problem
from chatmesh.web.request import SET_COOKIE, Request

PARAMETER = "ticket"
COOKIE_NAME = "chatmesh_events"

Spend = Callable[[Token], Awaitable[bool]]
"""True once for each ticket, on whichever pod. Raises BrokerError."""


class Signer(Protocol):
    """Reads tickets and cookies, makes cookies."""

    def read_ticket(self, text: str, session_id: Token, now: float) -> tuple[Token, Caller]: ...
    def read_cookie(self, text: str, ticket: str, session_id: Token, now: float) -> Caller: ...
    def cookie(self, caller: Caller, session_id: Token, ticket_id: Token, now: float) -> tuple[str, int]: ...


class EventTickets:
    """`knows`: whether a caller's key was not revoked since."""

    def __init__(
        self, signer: Signer, spend: Spend, knows: Callable[[Caller], bool], origins: Origins
    ) -> None:
        self._signer = signer
        self._spend = spend
        self._knows = knows
        self._origins = origins

    async def admit(self, request: Request) -> Caller | None:
        """The caller of the request's ticket, or None: it has none. Problem 401 `unauthenticated`, 403
        `origin_not_allowed`."""
        text = request.query.get(PARAMETER)
        session_id = request.match_info.get("session_id", "")
        if text is None or not is_token(session_id):
            return None
        self._check_origin(request)
        caller = self._by_cookie(request, text, Token(session_id)) or await self._by_ticket(
            request, text, Token(session_id)
        )
        if not self._knows(caller):
            raise _refused("The key of this ticket was revoked.")
        return caller

    def _check_origin(self, request: Request) -> None:
        """A browser says from which page it comes; a cookie goes with what any page of the site asks for. Problem 403
        `origin_not_allowed`."""
        origin, fetch_site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "")
        if origin is not None and not self._origins.is_known(request.host, origin, fetch_site):
            raise not_allowed()

    def _by_cookie(self, request: Request, ticket: str, session_id: Token) -> Caller | None:
        text = request.cookies.get(COOKIE_NAME)
        if text is None:
            return None
        try:
            return self._signer.read_cookie(text, ticket, session_id, time.time())
        except ChatmeshError:
            return None  # of another ticket, perhaps: this one may be good

    async def _by_ticket(self, request: Request, text: str, session_id: Token) -> Caller:
        ticket_id, caller = self._signer.read_ticket(text, session_id, time.time())
        if not await self._spend(ticket_id):
            raise _refused("The ticket was used already.")
        value, seconds = self._signer.cookie(caller, session_id, ticket_id, time.time())
        is_tls = request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
        path = f"/v1/sessions/{session_id}/events"
        parts = [
            f"{COOKIE_NAME}={value}",
            f"Path={path}",
            f"Max-Age={seconds}",
            "HttpOnly",
            "SameSite=Strict",
        ]
        request[SET_COOKIE] = "; ".join([*parts, *(["Secure"] if is_tls else [])])
        return caller


def _refused(detail: str) -> Problem:
    return Problem(401, "unauthenticated", detail, headers={"WWW-Authenticate": 'Bearer realm="chatmesh"'})
