"""Names of models as they stand in heartbeats and in requests: a name with a `*` is a pattern for many. Pure."""

from __future__ import annotations

from collections.abc import Iterable

PATTERN = "*"
"""Stands for any characters, and for none; once in a name at most."""

MAX_LENGTH = 200


def is_pattern(name: str) -> bool:
    return PATTERN in name


def fits(name: str, pattern: str) -> bool:
    """Whether a pattern stands for `name`, which is visible ASCII and not one itself: it goes to somebody's server."""
    before, _, behind = pattern.partition(PATTERN)
    return (
        len(before) + len(behind) <= len(name) <= MAX_LENGTH
        and name.startswith(before)
        and name.endswith(behind)
        and all("!" <= letter <= "~" for letter in name)
        and not is_pattern(name)
    )


def matching(name: str, known: Iterable[str]) -> str | None:
    """The pattern that stands for `name`: of several the longest, of equally long ones the first in the alphabet."""
    fitting = [pattern for pattern in known if is_pattern(pattern) and fits(name, pattern)]
    return min(fitting, key=lambda pattern: (-len(pattern), pattern), default=None)


def is_served(name: str, known: set[str]) -> bool:
    """Whether any of the `known` names and patterns stands for `name`."""
    return (name in known and not is_pattern(name)) or matching(name, known) is not None
