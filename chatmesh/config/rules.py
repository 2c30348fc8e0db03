"""Rules over more than one key: what each value allows alone and together with another doesn't.

Functions take plain mappings of what was given, typed or not yet, so that a broken rule is reported together with
wrong values elsewhere in the section instead of after them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from chatmesh.config.auth_rules import broken_in_auth
from chatmesh.config.broken import Broken
from chatmesh.config.limits import OF_CALLERS
from chatmesh.config.model_rules import broken_in_models

SECRET_KEYS = (
    ("nats", "password"),
    ("nats", "token"),
    ("models", "*", "api_key"),
    ("auth", "secret"),
    ("auth", "jwt", "secret"),
)
"""Keys whose value is a secret; `*` is any name. Each has a sibling `<key>_file`."""

_AUTH_METHODS = {
    "nats.user": ("user", "password", "password_file"),
    "nats.token": ("token", "token_file"),
    "nats.creds_file": ("creds_file",),
    "nats.nkey_seed_file": ("nkey_seed_file",),
}


def broken_rules(values: Mapping[str, Any]) -> Iterator[Broken]:
    """Give every rule that a whole tree breaks. Sections of a wrong shape are passed over; types report those."""
    nats = values.get("nats")
    if isinstance(nats, Mapping):
        yield from broken_in_nats(nats)
    yield from broken_in_auth(values)
    yield from _broken_in_limits(values)
    demo, models = values.get("demo"), values.get("models")
    if isinstance(models, Mapping):
        is_off = isinstance(demo, Mapping) and demo.get("enabled") is False
        yield from broken_in_models(models, has_demo=not is_off)


def _broken_in_limits(values: Mapping[str, Any]) -> Iterator[Broken]:
    """Where nobody is asked who is calling, all users are one."""
    limits, auth = values.get("limits"), values.get("auth")
    mode = auth.get("mode", "none") if isinstance(auth, Mapping) else "none"
    if isinstance(limits, Mapping) and mode == "none":
        for key in OF_CALLERS:
            if limits.get(key) is not None:
                yield Broken(("limits", key), "expected auth.mode: api_keys or jwt beside it, got none")


def broken_in_nats(nats: Mapping[str, Any]) -> Iterator[Broken]:
    """Give every rule that the section `nats` breaks."""
    given = {key for key, value in nats.items() if value is not None}
    used = {method: keys for method, keys in _AUTH_METHODS.items() if given.intersection(keys)}
    if len(used) > 1:
        last = next(key for key in list(used.values())[-1] if key in given)
        yield Broken(
            ("nats", last),
            f"expected one way to authenticate, got {' and '.join(used)}; keep one, set the others to null",
        )
    if given.intersection(("password", "password_file")) and "user" not in given:
        key = "password" if "password" in given else "password_file"
        yield Broken(("nats", key), "expected nats.user beside a password, got none")
    tls = nats.get("tls")
    if isinstance(tls, Mapping):
        yield from _half_a_pair(tls)
    yield from _secret_in_clear(nats)


def _secret_in_clear(nats: Mapping[str, Any]) -> Iterator[Broken]:
    """A password or token is sent as it stands; the seed of an NKey or of credentials signs a nonce and never leaves."""
    tls = nats.get("tls")
    is_encrypted = isinstance(tls, Mapping) and any(tls.values())
    if (
        is_encrypted
        or nats.get("allow_cleartext") in (True, "true")
        or nats.get("embedded") in (True, "true")
    ):
        return
    secret = next((key for key in ("password", "token") if nats.get(key) is not None), None)
    servers = nats.get("servers") or ()
    far = [
        server for server in (servers.split(",") if isinstance(servers, str) else servers) if _is_far(server)
    ]
    if secret is not None and far:
        yield Broken(
            ("nats", secret),
            f"expected an encrypted connection for it, got {far[0].strip()}; use tls:// or set nats.tls, or an NKey "
            "(nats.nkey_seed_file), which is never sent; in a network of your own set nats.allow_cleartext to true",
        )


def _is_far(server: object) -> bool:
    """Whether it is another machine, spoken to without TLS. What is no address is somebody else's problem."""
    if not isinstance(server, str) or "@" in server:
        return False
    try:
        parts = urlsplit(server.strip())
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme == "nats" and bool(host) and not _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _half_a_pair(tls: Mapping[str, Any]) -> Iterator[Broken]:
    for key, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if tls.get(key) is not None and tls.get(other) is None:
            yield Broken(("nats", "tls", key), f"expected nats.tls.{other} beside it, got none")
