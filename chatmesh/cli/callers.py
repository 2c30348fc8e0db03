"""`chatmesh keys` and `chatmesh token`: who may call. A key's secret is printed once, on stdout, and kept nowhere."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import orjson

from chatmesh.app.auth import token_settings
from chatmesh.cli import table
from chatmesh.cli.replaced import alone, read_text, replace_text
from chatmesh.cli.settings import load_settings
from chatmesh.config.auth_rules import FAMILIES
from chatmesh.errors import ConfigError, Exit, ProtocolError
from chatmesh.identity import ApiKey, make_token, mint, parse_keys, render_keys
from chatmesh.protocol.callers import Scope, name_of, scopes_of

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def new_key(namespace: argparse.Namespace) -> int:
    try:
        user, tenant = name_of(namespace.user, "--user"), name_of(namespace.tenant, "--tenant")
    except ProtocolError as error:
        raise ConfigError(error.what) from error
    seconds = namespace.expires
    key, secret = mint(user, tenant, namespace.scopes, None if seconds is None else time.time() + seconds)
    with _changing(namespace.file) as keys:
        keys[key.id] = key
    print(secret)
    return Exit.OK


def list_keys(namespace: argparse.Namespace) -> int:
    keys = _read(namespace.file)
    if namespace.json:
        shown = [
            {name: value for name, value in key.wire().items() if name != "hash"} for key in keys.values()
        ]
        print(orjson.dumps({"keys": shown}, option=orjson.OPT_INDENT_2).decode())
        return Exit.OK
    rows = [
        (key.id, table.plain(key.tenant), table.plain(key.user), ",".join(sorted(key.scopes)), _when(key))
        for key in keys.values()
    ]
    if rows:
        print(table.render(("ID", "TENANT", "USER", "SCOPES", "EXPIRES"), rows, [""] * len(rows)))
    print(f"{len(rows)} keys.")
    return Exit.OK


def revoke_key(namespace: argparse.Namespace) -> int:
    with _changing(namespace.file) as keys:
        if keys.pop(namespace.id, None) is None:
            raise ConfigError(f"there is no key with the id {namespace.id!r}", where=str(namespace.file))
    print(
        f"Key {namespace.id} is revoked. Pods read the file again within seconds; streams of the key end then."
    )
    return Exit.OK


def token(namespace: argparse.Namespace) -> int:
    jwt = load_settings(namespace).config.auth.jwt
    if jwt.secret is None or FAMILIES[jwt.algorithms[0]] != "secret":
        raise ConfigError(
            "a token can be made here only where pods verify it with a secret",
            where="auth.jwt.secret",
            mend="For development: auth.mode jwt, auth.jwt.algorithms HS256, secret_file, issuer and audience.",
        )
    try:
        made = make_token(
            jwt.secret.get_secret_value(),
            token_settings(jwt),
            user=namespace.user,
            tenant=namespace.tenant,
            scopes=sorted(namespace.scopes),
            ttl_seconds=namespace.ttl,
        )
    except ProtocolError as error:
        raise ConfigError(error.what) from error
    print(made)
    return Exit.OK


def duration(text: str) -> float:
    """Seconds of `90d`, `1h`, `30m` or `45s`."""
    digits, unit = text[:-1], text[-1:]
    if not (digits.isascii() and digits.isdigit() and unit in _UNITS and 0 < int(digits) < 10**6):
        raise argparse.ArgumentTypeError(f"a duration such as 90d, 1h, 30m or 45s is expected, got {text!r}")
    return int(digits) * _UNITS[unit]


def scopes(text: str) -> frozenset[Scope]:
    """Of `chat,read`; an unknown one is an error here."""
    words = [word for word in text.replace(",", " ").split() if word]
    found = scopes_of(words)
    if not words or len(found) != len(set(words)):
        raise argparse.ArgumentTypeError(f"some of {', '.join(Scope)} are expected, got {text!r}")
    return found


def _when(key: ApiKey) -> str:
    if key.expires_at is None:
        return "never"
    return datetime.fromtimestamp(key.expires_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _read(path: Path) -> dict[str, ApiKey]:
    return parse_keys(read_text(path), str(path))


@contextmanager
def _changing(path: Path) -> Iterator[dict[str, ApiKey]]:
    """The keys, to be changed."""
    with alone(path):
        keys = _read(path) if path.exists() else {}
        yield keys
        replace_text(path, render_keys(keys.values()))
