"""What a key may hold, in words: "a whole number from 1 to 5". Problems and the reference say it the same way."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from chatmesh.config.keys import Key, Place, all_keys, plain_types
from chatmesh.config.models import ModelConfig
from chatmesh.config.section import Wants


def expected_at(place: Place) -> str:
    """Say what is expected at a place; "another value" where no key of the tree is there."""
    info = info_at(place)
    if info is None:
        return (
            "a mapping with a provider" if place[:1] == ("models",) and len(place) == 2 else "another value"
        )
    words = choices(info) if isinstance(place[-1], int) else ()
    return f"one of {', '.join(words)}" if words else expected(info)


def info_at(place: Place) -> FieldInfo | None:
    """Give the declaration of the key at a place, for an item that of its list; None for an unknown key."""
    names = tuple(part for part in place if isinstance(part, str))
    if names[:1] == ("models",) and len(names) == 3:
        return ModelConfig.model_fields.get(names[2])
    key: Key | None = all_keys().get(names)
    return key.info if key else None


def expected(info: FieldInfo) -> str:
    """Say what a key may hold, with bounds and choices."""
    words = [item for item in _metadata(info) if isinstance(item, Wants)]
    types = [kind for kind in plain_types(info.annotation) if kind is not type(None)]
    text = words[0].text if words else _by_type(types[0], _bounds(info))
    nullable = type(None) in plain_types(info.annotation)
    return f"{text}, or null" if nullable else text


def choices(info: FieldInfo) -> tuple[str, ...]:
    """Give the words a key may hold, () for a key that is no choice among words."""
    found: list[str] = []
    for kind in plain_types(info.annotation):
        parts = [kind, *get_args(kind)] if get_origin(kind) is tuple else [kind]
        found += [str(word) for part in parts if get_origin(part) is Literal for word in get_args(part)]
    return tuple(found)


def _by_type(kind: Any, bounds: str) -> str:
    if get_origin(kind) is Literal:
        words = [str(word) for word in get_args(kind)]
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    if kind is bool:
        return "true or false"
    if kind in (int, float):
        return ("a whole number" if kind is int else "a number") + bounds
    return "text" if kind in (str, SecretStr) else "a mapping"


def _bounds(info: FieldInfo) -> str:
    limits: dict[str, list[float]] = {}
    for item in _metadata(info):
        for name in ("gt", "ge", "le", "lt"):
            if getattr(item, name, None) is not None:
                limits.setdefault(name, []).append(getattr(item, name))
    low, above, high = limits.get("ge"), limits.get("gt"), limits.get("le")
    if low and high:
        return f" from {max(low):.12g} to {min(high):.16g}"
    parts = [f" above {max(above):.12g}"] if above else [f" from {max(low):.12g}"] if low else []
    return "".join(parts) + (f" up to {min(high):.16g}" if high else "")


def _metadata(info: FieldInfo) -> Iterator[Any]:
    yield from info.metadata
    yield from _inner(info.annotation)


def _inner(annotation: Any) -> Iterator[Any]:
    """Give what Annotated says within a union, where pydantic leaves it alone."""
    if get_origin(annotation) is Annotated:
        inner, *rest = get_args(annotation)
        for item in rest:
            yield from item.metadata if isinstance(item, FieldInfo) else (item,)
        yield from _inner(inner)
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _inner(part)
