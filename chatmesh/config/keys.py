"""Every key that may stand in a configuration, read off the types once: its path, its kind, its environment name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from chatmesh.config.models import ModelConfig
from chatmesh.config.tree import Config

Place = tuple[str | int, ...]
"""Keys and, within lists, indexes from the root to a value."""


class Kind(Enum):
    """How what stands in YAML becomes a value of the key."""

    TEXT = auto()
    """Taken as it is written, so that `id: 007` and `user: no` are text."""
    SECRET = auto()
    """As text, and never shown."""
    TEXTS = auto()
    """A list of texts, or one text with commas."""
    OTHER = auto()
    """A number or true/false: read as YAML."""
    SECTION = auto()
    MODELS = auto()
    """The one mapping whose keys are free."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the tree. `info` carries description, default and bounds."""

    path: tuple[str, ...]
    info: FieldInfo
    kind: Kind

    @property
    def dotted(self) -> str:
        return dotted(self.path)

    @property
    def environment(self) -> str:
        return "CHATMESH_" + "__".join(self.path).upper()


@cache
def all_keys() -> dict[tuple[str, ...], Key]:
    """Give every key by its path, sections before what is in them, in the order of the tree."""
    return {key.path: key for key in _walk(Config, ())}


def leaf_keys() -> Iterator[Key]:
    """Give the keys that hold a value; `models` is one of them."""
    return (key for key in all_keys().values() if key.kind is not Kind.SECTION)


def kind_at(place: Place) -> Kind:
    """Say how a value at this place is read; unknown keys are `OTHER`."""
    if len(place) == 3 and place[0] == "models" and place[2] in ModelConfig.model_fields:
        return _kind(ModelConfig.model_fields[str(place[2])].annotation)
    if isinstance(place[-1], int):
        return Kind.TEXT if kind_at(place[:-1]) is Kind.TEXTS else Kind.OTHER
    key = all_keys().get(place)  # type: ignore[arg-type]
    return key.kind if key else Kind.OTHER


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Give the section that a key opens, or None for a key that holds a value."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def plain_types(annotation: Any) -> Iterator[Any]:
    """Give the alternatives of a type, without Annotated around them; a Literal counts as one."""
    if get_origin(annotation) is Annotated:
        yield from plain_types(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from plain_types(part)
    else:
        yield annotation


def dotted(place: Sequence[str | int]) -> str:
    """Write a path as people do: `nats.servers[1]`; a name with dots in quotes."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = (
                part
                if re.fullmatch(r"[^.\"'=\s\[\]]+", part) and part.isprintable()
                else f'"{ascii(part)[1:-1]}"'
            )
            text += f".{shown}" if text else shown
    return text


def _walk(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[Key]:
    for name, info in model.model_fields.items():
        path = (*above, name)
        section = section_of(info.annotation)
        yield Key(path, info, Kind.SECTION if section else _kind(info.annotation))
        if section:
            yield from _walk(section, path)


def _kind(annotation: Any) -> Kind:
    for alternative in plain_types(annotation):
        origin = get_origin(alternative)
        if alternative is SecretStr:
            return Kind.SECRET
        if alternative in (str, Path) or origin is Literal:
            return Kind.TEXT
        if origin is tuple:
            return Kind.TEXTS
        if origin is not None and not isinstance(origin, str) and issubclass(origin, dict | _MAPPING):
            return Kind.MODELS
    return Kind.OTHER


_MAPPING = get_origin(Config.model_fields["models"].annotation)
