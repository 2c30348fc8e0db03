"""A rule over more than one key that doesn't hold."""

from __future__ import annotations

from dataclasses import dataclass

RULE_BROKEN = "chatmesh_rule"
"""The type of pydantic's error for such a rule; `load` skips it, since it asks the rules itself."""


@dataclass(frozen=True, slots=True)
class Broken:
    """`path` is the key to blame, the later one of two."""

    path: tuple[str, ...]
    message: str
