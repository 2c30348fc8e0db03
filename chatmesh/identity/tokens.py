"""JSON web tokens: checked against one family of algorithms, an issuer, an audience, and the issuer's keys."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from chatmesh.errors import ProtocolError
from chatmesh.identity.refusal import NotKnownError
from chatmesh.identity.signing_keys import SigningKeys
from chatmesh.protocol.callers import Caller, name_of, scopes_of


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """`algorithms` are of one family. `issuer` and `audience` have to be in the token. `tenant` is that of a token without
    the claim; None: it is refused. Times in seconds."""

    algorithms: tuple[str, ...]
    issuer: str
    audience: str
    tenant_claim: str
    scope_claim: str
    tenant: str | None
    leeway_seconds: float


class Tokens:
    """Knows callers by their tokens."""

    def __init__(self, settings: TokenSettings, keys: SigningKeys) -> None:
        self._settings = settings
        self._keys = keys

    async def identify(self, text: str) -> Caller:
        """Raises NotKnownError."""
        settings = self._settings
        try:
            head = jwt.get_unverified_header(text)
            # The token's own word for its algorithm chooses nothing: it has to be one that the configuration names.
            if head.get("alg") not in settings.algorithms:
                raise NotKnownError("the token is signed with another algorithm")
            if "crit" in head:
                raise NotKnownError("the token asks for an extension that is not known here")
            key = await self._keys.find(head.get("kid"))
            claims: dict[str, Any] = jwt.decode(
                text,
                key,
                algorithms=list(settings.algorithms),
                issuer=settings.issuer,
                audience=settings.audience,
                leeway=settings.leeway_seconds,
                options={"require": ["exp", "sub", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError) as error:
            raise NotKnownError(_reason(error)) from error
        return caller_of(claims, settings)


def caller_of(claims: dict[str, Any], settings: TokenSettings) -> Caller:
    """Of claims that were verified. Raises NotKnownError."""
    expires_at = claims.get("exp")
    if isinstance(expires_at, bool) or not isinstance(expires_at, int | float):
        raise NotKnownError("the token's exp is no time")
    try:
        return Caller(
            name_of(claims.get(settings.tenant_claim, settings.tenant), f"the claim {settings.tenant_claim}"),
            name_of(claims.get("sub"), "the claim sub"),
            scopes_of(claims.get(settings.scope_claim)),
            float(expires_at) + settings.leeway_seconds,
        )
    except ProtocolError as error:
        raise NotKnownError(error.what) from error


def make_token(
    secret: str,
    settings: TokenSettings,
    *,
    user: str,
    tenant: str,
    scopes: Sequence[str],
    ttl_seconds: float,
) -> str:
    """One for development, with the secret that verifies it. Raises ProtocolError for a name that is none."""
    now = int(time.time())
    claims = {
        "iss": settings.issuer,
        "aud": settings.audience,
        "sub": name_of(user, "user"),
        settings.tenant_claim: name_of(tenant, "tenant"),
        settings.scope_claim: " ".join(scopes),
        "iat": now,
        "exp": now + max(1, int(ttl_seconds)),
    }
    return jwt.encode(claims, secret, algorithm=settings.algorithms[0])


def _reason(error: Exception) -> str:
    match error:
        case jwt.ExpiredSignatureError():
            return "the token has expired"
        case jwt.ImmatureSignatureError():
            return "the token is not valid yet"
        case jwt.InvalidAudienceError():
            return "the token is for another audience"
        case jwt.InvalidIssuerError():
            return "the token is of another issuer"
        case jwt.MissingRequiredClaimError():
            return f"the token lacks the claim {error.claim}"
        case jwt.InvalidSignatureError():
            return "the token's signature is wrong"
    return "it is no token that can be read"
