"""What a pod signs for callers, and any pod of the same secret believes: links that show one session, read only; tickets for
clients that can't send headers; and the cookies that a ticket becomes. Pure.

Nothing of it is stored: a link dies with its session's nonce, and a ticket within seconds.
"""

from __future__ import annotations

import secrets
from typing import Any

from chatmesh.errors import ProtocolError
from chatmesh.identity.refusal import NotKnownError
from chatmesh.protocol import signed
from chatmesh.protocol.callers import Caller, Scope, scopes_of
from chatmesh.protocol.tokens import Token, is_token

SHARE = "cmshare"
TICKET = "cmticket"
COOKIE = "cmevents"

TICKET_SECONDS = 30
COOKIE_SECONDS = 3600


class Links:
    """`secret` is the pods' own."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def share(self, tenant: str, session_id: Token, nonce: str, expires_at: float) -> str:
        """Shows the session of that nonce to whoever has it."""
        claims = {"t": tenant, "s": session_id, "n": nonce, "exp": expires_at}
        return signed.sign(SHARE, claims, self._secret)

    def reader(self, text: str, now: float) -> Caller:
        """The one whom a link makes. Raises NotKnownError."""
        claims = self._read(SHARE, text, now)
        session_id, nonce, tenant = claims.get("s"), claims.get("n"), claims.get("t")
        if not (is_token(session_id) and isinstance(nonce, str) and isinstance(tenant, str)):
            raise NotKnownError("the link names no session")
        return Caller(
            tenant,
            "",
            frozenset({Scope.READ}),
            float(claims["exp"]),
            session_id=Token(str(session_id)),
            nonce=nonce,
        )

    def ticket(self, caller: Caller, session_id: Token, now: float) -> str:
        """Good once, for the events of that session."""
        expires_at = min(now + TICKET_SECONDS, caller.expires_at or now + TICKET_SECONDS)
        claims = _told(caller) | {"at": session_id, "id": secrets.token_hex(12), "exp": expires_at}
        return signed.sign(TICKET, claims, self._secret)

    def read_ticket(self, text: str, session_id: Token, now: float) -> tuple[Token, Caller]:
        """Its own id, and whose it is. Raises NotKnownError for one that is of another session, or too old."""
        claims = self._read(TICKET, text, now)
        return _id(claims, session_id), _caller(claims, claims.get("until"))

    def cookie(self, caller: Caller, session_id: Token, ticket_id: Token, now: float) -> tuple[str, int]:
        """For whoever comes back with the ticket's address; and how long it is good, in seconds."""
        expires_at = min(now + COOKIE_SECONDS, caller.expires_at or now + COOKIE_SECONDS)
        claims = _told(caller) | {"at": session_id, "id": ticket_id, "exp": expires_at}
        return signed.sign(COOKIE, claims, self._secret), max(1, int(expires_at - now))

    def read_cookie(self, text: str, ticket: str, session_id: Token, now: float) -> Caller:
        """Whose it is; it goes with its own ticket only, however old that is. Raises NotKnownError."""
        claims = self._read(COOKIE, text, now)
        if _id(claims, session_id) != _id(self._read(TICKET, ticket, 0.0), session_id):
            raise NotKnownError("the cookie is of another ticket")
        return _caller(claims, claims["exp"])

    def _read(self, purpose: str, text: str, now: float) -> dict[str, Any]:
        try:
            return signed.read(purpose, text, self._secret, now)
        except (ProtocolError, ValueError) as error:
            what = {SHARE: "link", TICKET: "ticket", COOKIE: "cookie"}[purpose]
            reason = error.what if isinstance(error, ProtocolError) else "it can't be read"
            raise NotKnownError(f"the {what} is not good: {reason}") from error


def _told(caller: Caller) -> dict[str, Any]:
    return {
        "t": caller.tenant,
        "u": caller.user,
        "sc": sorted(map(str, caller.scopes)),
        "until": caller.expires_at,
        "k": caller.key_id,
        "s": caller.session_id,
        "n": caller.nonce,
    }


def _caller(claims: dict[str, Any], expires_at: float | None) -> Caller:
    """Of what `_told` has said and nobody has changed."""
    return Caller(
        claims["t"],
        claims["u"],
        scopes_of(claims["sc"]),
        expires_at,
        claims["k"],
        claims["s"],
        claims["n"],
    )


def _id(claims: dict[str, Any], session_id: Token) -> Token:
    if claims.get("at") != session_id or not is_token(claims.get("id")):
        raise NotKnownError("it is for another session")
    return Token(claims["id"])
