"""Small things that a pod signs and any pod of the same secret believes: shares, tickets, cookies. Pure.

A purpose is part of what is signed, so that none of them passes for another.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import orjson

from chatmesh.errors import ProtocolError
from chatmesh.protocol.jsontext import decode_object

MAX_CHARACTERS = 4096


def sign(purpose: str, claims: dict[str, Any], secret: bytes) -> str:
    """`claims` as visible text: they can be read by whoever has it, and changed by nobody."""
    body = _text(orjson.dumps(claims))
    return f"{purpose}.{body}.{_text(_mac(purpose, body, secret))}"


def read(purpose: str, text: str, secret: bytes, now: float) -> dict[str, Any]:
    """The claims. Raises ProtocolError for what was not signed for that purpose, or has expired (`exp`, Unix seconds)."""
    parts = text.split(".")
    if len(text) > MAX_CHARACTERS or len(parts) != 3 or parts[0] != purpose or not text.isascii():
        raise ProtocolError("it is none of ours")
    # As text: the same bytes can be written in several ways, and only one of them is ours.
    if not hmac.compare_digest(parts[2], _text(_mac(purpose, parts[1], secret))):
        raise ProtocolError("its signature is wrong")
    claims = decode_object(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)), "what was signed")
    expires_at = claims.get("exp")
    if not isinstance(expires_at, int | float) or expires_at <= now:
        raise ProtocolError("it has expired")
    return claims


def _mac(purpose: str, body: str, secret: bytes) -> bytes:
    return hmac.new(secret, f"{purpose}.{body}".encode(), hashlib.sha256).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
