"""API keys: how they look, how they are kept, and whose a given one is. Pure.

A key is `cm_{id}_{secret}`. What is kept is a salted SHA-256 of the secret: it has 256 random bits, so that nobody can try
them all, and a slow hash, which is for what people choose, would only cost each request.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml

from chatmesh.errors import ConfigError, ProtocolError
from chatmesh.identity.refusal import NotKnownError
from chatmesh.protocol.callers import Caller, Scope, name_of, scopes_of

_KEY = re.compile(r"cm_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_HASH = re.compile(r"sha256\$([0-9a-f]{32})\$([0-9a-f]{64})")

_NOBODYS_SALT = "0" * 32
_NOBODYS_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class ApiKey:
    """As it is kept. `expires_at` in Unix seconds; None: never."""

    id: str
    hash: str
    user: str
    tenant: str
    scopes: frozenset[Scope]
    expires_at: float | None = None

    def wire(self) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "id": self.id,
            "user": self.user,
            "tenant": self.tenant,
            "scopes": sorted(map(str, self.scopes)),
            "hash": self.hash,
        }
        if self.expires_at is not None:
            entry["expires"] = datetime.fromtimestamp(self.expires_at, UTC).isoformat()
        return entry


def mint(user: str, tenant: str, scopes: frozenset[Scope], expires_at: float | None) -> tuple[ApiKey, str]:
    """A new key as it is kept, and as its owner gets it, once."""
    id = secrets.token_hex(6)
    secret = secrets.token_urlsafe(32)
    salt = secrets.token_hex(16)
    return ApiKey(id, f"sha256${salt}${_digest(salt, secret)}", user, tenant, scopes, expires_at), (
        f"cm_{id}_{secret}"
    )


def caller_of(text: str, keys: Mapping[str, ApiKey], now: float) -> Caller:
    """Whose key it is. Takes the same work for an id that is known as for one that is not. Raises NotKnownError."""
    match = _KEY.fullmatch(text)
    if match is None:
        raise NotKnownError("it is no key: cm_, an id, and a secret are expected")
    key = keys.get(match[1])
    kept = _HASH.fullmatch(key.hash) if key is not None else None
    salt, digest = (kept[1], kept[2]) if kept is not None else (_NOBODYS_SALT, _NOBODYS_DIGEST)
    is_same = hmac.compare_digest(_digest(salt, match[2]), digest)
    if key is None or not is_same:
        raise NotKnownError("the key is not known")
    if key.expires_at is not None and key.expires_at <= now:
        raise NotKnownError("the key has expired")
    return Caller(key.tenant, key.user, key.scopes, key.expires_at, key.id)


def parse_keys(text: str, where: str) -> dict[str, ApiKey]:
    """The keys in a file, by their ids. Raises ConfigError that names the entry; no hash is in it."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError("it is neither YAML nor JSON", where=where) from error
    entries = raw.get("keys") if isinstance(raw, dict) else raw
    if entries is None:
        return {}
    if not isinstance(entries, list):
        raise ConfigError("a list of keys was expected", where=where, mend="`chatmesh keys new` writes it.")
    found: dict[str, ApiKey] = {}
    for number, entry in enumerate(entries):
        key = _parsed(entry, f"{where}, key {number + 1}")
        if key.id in found:
            raise ConfigError(f"the id {key.id} is there twice", where=where)
        found[key.id] = key
    return found


def render_keys(keys: Iterable[ApiKey]) -> str:
    """The file's text."""
    head = "# API keys of chatmesh, hashed. `chatmesh keys` writes this file; pods read it again when it changes.\n"
    return head + yaml.safe_dump({"keys": [key.wire() for key in keys]}, sort_keys=False, allow_unicode=True)


def _parsed(entry: Any, where: str) -> ApiKey:
    if not isinstance(entry, dict):
        raise ConfigError("an entry with id, hash, user, tenant and scopes was expected", where=where)
    id, kept = entry.get("id"), entry.get("hash")
    if not isinstance(id, str) or not re.fullmatch(r"[a-z0-9]{12}", id):
        raise ConfigError("id must be 12 letters and digits in quotes", where=where)
    if not isinstance(kept, str) or not _HASH.fullmatch(kept):
        raise ConfigError("hash must be sha256$SALT$DIGEST", where=where)
    scopes = scopes_of(entry.get("scopes"))
    if not scopes:
        raise ConfigError(f"scopes must be some of {', '.join(Scope)}", where=where)
    try:
        user, tenant = name_of(entry.get("user"), "user"), name_of(entry.get("tenant"), "tenant")
    except ProtocolError as error:
        raise ConfigError(error.what, where=where) from error
    return ApiKey(id, kept, user, tenant, scopes, _expiry(entry.get("expires"), where))


def _expiry(raw: Any, where: str) -> float | None:
    if raw is None:
        return None
    try:
        at = raw if isinstance(raw, datetime) else datetime.fromisoformat(str(raw))
    except ValueError as error:
        raise ConfigError("expires must be a time such as 2027-01-31T12:00:00Z", where=where) from error
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def _digest(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}:{secret}".encode()).hexdigest()
