"""A session's card: whose it is, and (where payloads are sealed) its wrapped data key. Pure.

Only one is kept of each session. A card of no bytes is a tombstone, and as good as none.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

import orjson

from chatmesh.errors import ProtocolError
from chatmesh.protocol.jsontext import decode_object
from chatmesh.protocol.tokens import Token

TOMBSTONE = b""


@dataclass(frozen=True, slots=True)
class Card:
    """`tenant` and `user` began the session; both are empty where nobody is asked who is calling, and then it is nobody's
    as soon as that is asked. `key` is the wrapped data key. `nonce` tells a session from an earlier one of the same
    name. `created_at` is RFC 3339, and never changes."""

    tenant: str
    user: str
    key: dict[str, Any] | None
    nonce: str
    created_at: str

    def is_of(self, tenant: str, user: str) -> bool:
        """Whether the session is that caller's. Nobody owns one without an owner."""
        return bool(self.user) and (self.tenant, self.user) == (tenant, user)

    @property
    def owner(self) -> Token | None:
        """Under which its owner's sessions are listed; None for a session without one."""
        return owner_of(self.tenant, self.user) if self.user else None

    def encode(self) -> bytes:
        body: dict[str, Any] = {
            "tenant": self.tenant,
            "user": self.user,
            "nonce": self.nonce,
            "created_at": self.created_at,
        }
        return orjson.dumps(body if self.key is None else body | {"key": self.key})

    @classmethod
    def decode(cls, body: bytes) -> Card:
        """Raises ProtocolError for what is no card."""
        raw = decode_object(body, "a session's card")
        texts = [raw.get(name) for name in ("tenant", "user", "nonce", "created_at")]
        key = raw.get("key")
        if not all(isinstance(text, str) for text in texts) or not isinstance(key, dict | None):
            raise ProtocolError("a session's card needs tenant, user, nonce and created_at as text")
        tenant, user, nonce, created_at = map(str, texts)
        return cls(tenant, user, key, nonce, created_at)

    @classmethod
    def unreadable(cls) -> Card:
        """In place of what is there and is no card: nobody's, without a key, and not to be begun over."""
        return cls("", "", None, "", "")


def new_nonce() -> str:
    """96 random bits."""
    return secrets.token_hex(12)


def owner_of(tenant: str, user: str) -> Token:
    """A caller as a token of a subject: no name of a person stands in one, and the same two give the same."""
    digest = hashlib.blake2b(digest_size=16)
    for text in (tenant, user):
        raw = text.encode(errors="surrogatepass")
        digest.update(b"%d:%b" % (len(raw), raw))
    return Token(digest.hexdigest())
