"""Rules over more than one key: what each value allows alone and together with another doesn't.

Functions take plain mappings of what was given, typed or not yet, so that a broken rule is reported together with
wrong values elsewhere in the section instead of after them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

RULE_BROKEN = "chatmesh_rule"
"""The type of pydantic's error for such a rule; `load` skips it, since it asks the rules itself."""

BUILT_IN_MODELS = ("demo", "echo", "count")

SECRET_KEYS = (("nats", "password"), ("nats", "token"))
"""Keys whose value is a secret. Each has a sibling `<key>_file`."""

_AUTH_METHODS = {
    "nats.user": ("user", "password", "password_file"),
    "nats.token": ("token", "token_file"),
    "nats.creds_file": ("creds_file",),
    "nats.nkey_seed_file": ("nkey_seed_file",),
}


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that doesn't hold; `path` is the key to blame, the later one of two."""

    path: tuple[str, ...]
    message: str


def broken_rules(values: Mapping[str, Any]) -> Iterator[Broken]:
    """Give every rule that a whole tree breaks. Sections of a wrong shape are passed over; types report those."""
    nats = values.get("nats")
    if isinstance(nats, Mapping):
        yield from broken_in_nats(nats)
    yield from _models_without_demo(values)
    yield from _python_keys(values)


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


def _half_a_pair(tls: Mapping[str, Any]) -> Iterator[Broken]:
    for key, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if tls.get(key) is not None and tls.get(other) is None:
            yield Broken(("nats", "tls", key), f"expected nats.tls.{other} beside it, got none")


def _models_without_demo(values: Mapping[str, Any]) -> Iterator[Broken]:
    demo, models = values.get("demo"), values.get("models")
    if not isinstance(demo, Mapping) or demo.get("enabled") is not False or not isinstance(models, Mapping):
        return
    for name, model in models.items():
        if name not in BUILT_IN_MODELS and isinstance(model, Mapping) and model.get("provider") == "demo":
            yield Broken(
                ("models", name, "provider"),
                "expected a provider that is switched on, got demo beside demo.enabled: false",
            )


def _python_keys(values: Mapping[str, Any]) -> Iterator[Broken]:
    """The provider python needs a function; no other provider takes its keys."""
    models = values.get("models")
    for name, model in models.items() if isinstance(models, Mapping) else ():
        if not isinstance(model, Mapping):
            continue
        given = [key for key in ("function", "continuation") if model.get(key) is not None]
        if model.get("provider") != "python":
            for key in given:
                yield Broken(
                    ("models", name, key), f"expected it beside provider: python, got {model.get('provider')}"
                )
        elif "function" not in given:
            yield Broken(
                ("models", name, "provider"), "expected a function (module:function) beside it, got none"
            )
        elif not re.fullmatch(r"[\w.]+:\w+", str(model["function"])):
            yield Broken(("models", name, "function"), f"expected module:function, got {model['function']!r}")
