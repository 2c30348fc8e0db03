"""Rules of the section `models` over more than one key: plain mappings come in, what is broken goes out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from chatmesh.config.broken import Broken
from chatmesh.protocol.model_names import PATTERN, is_served

BUILT_IN_MODELS = ("demo", "echo", "count")

_EVERYBODY = ("provider", "aliases", "fallbacks")
_PRICES = ("price_input", "price_output")
_SERVERS = (
    "model",
    "base_url",
    "api_key",
    "api_key_file",
    "continuation",
    "max_tokens",
    "connect_seconds",
    "first_token_seconds",
    "idle_seconds",
    "total_seconds",
    "retries",
    *_PRICES,
)
_KEYS = {
    "demo": _EVERYBODY,
    "python": (*_EVERYBODY, "function", "continuation", *_PRICES),
    "openai": (*_EVERYBODY, *_SERVERS),
    "anthropic": (*_EVERYBODY, *_SERVERS, "api_version"),
}


def keys_of(provider: str) -> tuple[str, ...]:
    """The keys that a model of this provider may have; none for a provider that does not exist."""
    return _KEYS.get(provider, ())


def broken_in_models(models: Mapping[str, Any], *, has_demo: bool) -> Iterator[Broken]:
    """Give every rule that the section breaks. Models of a wrong shape are passed over; types report those."""
    given = {name: model for name, model in models.items() if isinstance(model, Mapping)}
    for name, model in given.items():
        yield from _one(name, model)
        if not has_demo and name not in BUILT_IN_MODELS and model.get("provider") == "demo":
            yield Broken(
                ("models", name, "provider"),
                "expected a provider that is switched on, got demo beside demo.enabled: false",
            )
    yield from _names(given)
    yield from _fallbacks(given, has_demo=has_demo)


def _one(name: str, model: Mapping[str, Any]) -> Iterator[Broken]:
    provider = model.get("provider")
    for key, value in model.items():
        takers = [other for other, keys in _KEYS.items() if key in keys]
        if value is not None and takers and provider in _KEYS and provider not in takers:
            yield Broken(
                ("models", name, key),
                f"expected it beside provider: {' or '.join(takers)}, got {provider}",
            )
    if provider == "python":
        yield from _function(name, model)
    if name.count(PATTERN) > 1:
        yield Broken(("models", name), f"expected one {PATTERN} at most in a name, got {name.count(PATTERN)}")
    if PATTERN in name and provider not in ("openai", "anthropic", None):
        yield Broken(("models", name), f"expected a name without {PATTERN} beside provider: {provider}")


def _fallbacks(models: Mapping[str, Mapping[str, Any]], *, has_demo: bool) -> Iterator[Broken]:
    """Whoever goes on has to be served here, and be another one."""
    known = {*models, *(BUILT_IN_MODELS if has_demo else ())}
    known |= {alias for model in models.values() for alias in _list(model.get("aliases"))}
    for name, model in models.items():
        for fallback in _list(model.get("fallbacks")):
            if fallback == name:
                yield Broken(("models", name, "fallbacks"), f"expected other models, got {name} itself")
            elif PATTERN in fallback or not is_served(fallback, known):
                yield Broken(
                    ("models", name, "fallbacks"), f"expected names of models that are here, got {fallback!r}"
                )


def _list(value: Any) -> list[str]:
    """A list of names, which may also come as one text with commas."""
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    return [name for name in value if isinstance(name, str)] if isinstance(value, list | tuple) else []


def _function(name: str, model: Mapping[str, Any]) -> Iterator[Broken]:
    if model.get("function") is None:
        yield Broken(
            ("models", name, "provider"), "expected a function (module:function) beside it, got none"
        )
    elif not re.fullmatch(r"[\w.]+:\w+", str(model["function"])):
        yield Broken(("models", name, "function"), f"expected module:function, got {model['function']!r}")


def _names(models: Mapping[str, Mapping[str, Any]]) -> Iterator[Broken]:
    """Two models of one provider can't have the same name: nothing could ever choose the second."""
    owners = {(str(model.get("provider")), name): name for name, model in models.items()}
    for name, model in models.items():
        for alias in _list(model.get("aliases")):
            place = ("models", name, "aliases")
            owner = owners.setdefault((str(model.get("provider")), alias), name)
            if alias.count(PATTERN) > 1:
                yield Broken(place, f"expected one {PATTERN} at most in a name, got {alias!r}")
            elif PATTERN in name and model.get("model") is None:
                yield Broken(
                    place,
                    f"expected model beside the aliases of a pattern, got none: {alias!r} is no name there",
                )
            elif owner != name or alias == name:
                yield Broken(
                    place, f"expected other names than those of models.{owner}, which has the same provider"
                )
