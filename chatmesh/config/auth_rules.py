"""Rules of `auth`: nobody listens to the world without asking who is calling, and no mode lacks what it needs."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from chatmesh.config.broken import Broken

FAMILIES = {
    "HS256": "secret",
    "HS384": "secret",
    "HS512": "secret",
    "RS256": "RSA",
    "RS384": "RSA",
    "RS512": "RSA",
    "ES256": "EC",
    "ES384": "EC",
    "ES512": "EC",
    "EdDSA": "Ed",
}
"""Algorithm → of which kind its key is."""

LEAST_SECRET = 32
"""Bytes of a secret: as many as HS256's digest has (RFC 7518, 3.2)."""


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def broken_in_auth(values: Mapping[str, Any]) -> Iterator[Broken]:
    """Give every rule that `auth`, with what it stands beside, breaks."""
    auth = _section(values, "auth")
    mode = auth.get("mode", "none")
    if mode == "none":
        yield from _open_to_the_world(values, auth)
    elif mode == "api_keys" and auth.get("keys_file") is None and _serves(values):
        yield Broken(
            ("auth", "keys_file"),
            "expected a file of keys for auth.mode api_keys, got none; `chatmesh keys new --file FILE …` makes one",
        )
    elif mode == "jwt":
        yield from _broken_in_jwt(_section(auth, "jwt"), is_pod=_serves(values))
    yield from _short(auth, ("auth", "secret"))


def _open_to_the_world(values: Mapping[str, Any], auth: Mapping[str, Any]) -> Iterator[Broken]:
    host = _section(values, "http").get("host", "127.0.0.1")
    if auth.get("allow_anonymous") is True or not isinstance(host, str) or is_loopback(host):
        return
    if _serves(values):
        yield Broken(
            ("auth", "mode"),
            f"expected auth.mode api_keys or jwt with http.host {host!r}, got none: everybody who reaches that address "
            "could read and write every session. Where a gateway in front asks who is calling, or nobody else can reach "
            "it (a published port of a container), set auth.allow_anonymous to true",
        )


def _serves(values: Mapping[str, Any]) -> bool:
    """Whether the process serves sessions: a pod, unless its HTTP is off."""
    roles = values.get("roles", ("pod", "worker"))
    has_pod = "pod" in roles if isinstance(roles, str | list | tuple) else False
    return has_pod and _section(values, "http").get("enabled") is not False


def _broken_in_jwt(section: Mapping[str, Any], *, is_pod: bool) -> Iterator[Broken]:
    place = ("auth", "jwt")
    raw = section.get("algorithms", ("RS256",))
    named = raw.split(",") if isinstance(raw, str) else raw
    algorithms = [str(name).strip() for name in named] if isinstance(named, list | tuple) else []
    families = {FAMILIES[name] for name in algorithms if name in FAMILIES}
    if len(families) > 1:
        yield Broken((*place, "algorithms"), "expected algorithms of one family, got some of several")
        return
    sources = [key for key in ("secret", "public_key_file", "jwks_url") if section.get(key) is not None]
    if section.get("secret_file") is not None and "secret" not in sources:
        sources.append("secret")
    is_secret = families == {"secret"}
    if is_secret and sources != ["secret"] and (sources or is_pod):
        yield Broken(
            (*place, "algorithms"),
            f"expected auth.jwt.secret alone for {algorithms[0]}, got {_told(sources)}; a public key is no secret, "
            "and whoever has it could sign",
        )
    if not is_secret and len(sources) != 1 and is_pod:
        yield Broken(
            (*place, "jwks_url"), f"expected auth.jwt.public_key_file or jwks_url, got {_told(sources)}"
        )
    elif not is_secret and sources == ["secret"]:
        yield Broken((*place, "secret"), f"expected a public key for {', '.join(algorithms)}, got a secret")
    for key in ("issuer", "audience"):
        if not section.get(key) and is_pod:
            yield Broken((*place, key), "expected the one that tokens have to name, got none")
    yield from _short(section, (*place, "secret"))


def _short(section: Mapping[str, Any], place: tuple[str, ...]) -> Iterator[Broken]:
    raw = section.get("secret")
    reveal = getattr(raw, "get_secret_value", None)
    secret = reveal() if reveal is not None else raw
    if isinstance(secret, str) and len(secret.encode(errors="replace")) < LEAST_SECRET:
        yield Broken(
            place, f"expected {LEAST_SECRET} bytes at least, got fewer; `openssl rand -hex 32` makes some"
        )


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def _told(sources: list[str]) -> str:
    return " and ".join(sources) or "none"
