"""Who may call, in the words of the rooms that ask: of the configuration."""

from __future__ import annotations

import time
from functools import partial
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from chatmesh.broker import Broker
from chatmesh.config import Config
from chatmesh.config.auth import JwtConfig
from chatmesh.config.auth_rules import FAMILIES, is_loopback
from chatmesh.errors import ConfigError
from chatmesh.identity import FetchedKeys, FixedKey, KeyFile, Links, SigningKeys, Tokens, TokenSettings
from chatmesh.identity.links import SHARE
from chatmesh.protocol.callers import Caller
from chatmesh.telemetry import get_logger
from chatmesh.web import EventTickets, FailedTries, Guard
from chatmesh.web.origins import Origins

log = get_logger("app")

_CLASSES = {
    "RSA": (RSAPublicKey,),
    "EC": (EllipticCurvePublicKey,),
    "Ed": (Ed25519PublicKey, Ed448PublicKey),
}
"""Of a key for the family."""


class Callers(Protocol):
    """Knows callers by what they bring."""

    async def identify(self, text: str) -> Caller: ...


def callers(config: Config) -> Callers | None:
    """None: nobody is asked. Raises ConfigError where a file can't be used."""
    match config.auth.mode:
        case "api_keys" if config.auth.keys_file is not None:
            return KeyFile(config.auth.keys_file)
        case "jwt":
            return Tokens(token_settings(config.auth.jwt), _signing_keys(config.auth.jwt))
    if not is_loopback(config.http.host):
        log.warning("app.anybody_may_call", host=config.http.host, mend="auth.mode api_keys or jwt")
    return None


def links(config: Config) -> Links | None:
    """What signs links and tickets; None where there is no secret, or nobody is asked."""
    secret = config.auth.secret
    return None if secret is None or config.auth.mode == "none" else Links(secret.get_secret_value())


def guard(
    broker: Broker,
    callers: Callers | None,
    links: Links | None = None,
    origins: Origins | None = None,
    *,
    failures_per_minute: int | None = None,
) -> Guard | None:
    """What the server asks. `origins`: whose pages may bring a ticket; of our own only, without it."""
    if callers is None:
        return None
    tries = FailedTries(failures_per_minute)
    if links is None:
        return Guard(callers.identify, broker.ownership.is_theirs, tries=tries)
    known = callers.knows if isinstance(callers, KeyFile) else _everybody
    return Guard(
        partial(_identify, callers, links),
        broker.ownership.is_theirs,
        EventTickets(links, broker.spent.spend, known, origins or Origins()),
        tries,
    )


async def _identify(callers: Callers, links: Links, text: str) -> Caller:
    if text.startswith(f"{SHARE}."):
        return links.reader(text, time.time())
    return await callers.identify(text)


def _everybody(_caller: Caller) -> bool:
    return True


def opens_metrics(config: Config) -> bool:
    """Whether `/metrics` asks nobody."""
    chosen = config.auth.open_metrics
    return is_loopback(config.http.host) if chosen is None else chosen


def token_settings(jwt: JwtConfig) -> TokenSettings:
    return TokenSettings(
        jwt.algorithms,
        jwt.issuer or "",
        jwt.audience or "",
        jwt.tenant_claim,
        jwt.scope_claim,
        jwt.tenant,
        jwt.leeway_seconds,
    )


def _signing_keys(jwt: JwtConfig) -> SigningKeys:
    if jwt.secret is not None:
        return FixedKey(jwt.secret.get_secret_value())
    if jwt.jwks_url is not None:
        return FetchedKeys(jwt.jwks_url, algorithms=jwt.algorithms, refresh_seconds=jwt.jwks_refresh_seconds)
    where = "auth.jwt.public_key_file"
    try:
        key = load_pem_public_key(
            jwt.public_key_file.read_bytes() if jwt.public_key_file is not None else b""
        )
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            "the public key can't be read",
            where=where,
            mend="Expected a readable PEM file (BEGIN PUBLIC KEY).",
        ) from error
    family = FAMILIES[jwt.algorithms[0]]
    if not isinstance(key, _CLASSES.get(family, ())):
        raise ConfigError(f"the key is no {family} key, and {jwt.algorithms[0]} needs one", where=where)
    return FixedKey(key)
