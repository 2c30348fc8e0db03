"""What can be wrong with a configuration, and the error that carries all of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from chatmesh.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. No field ever holds a secret.

    `path` is the dotted path ("" for a file as a whole), `origin` is "file:line:column", the environment variable or
    the flag, `message` says what was expected and what was got, `suggestion` is a mend or None.
    """

    path: str
    origin: str
    message: str
    suggestion: str | None = None

    def __str__(self) -> str:
        parts = [part for part in (self.origin, self.path, self.message) if part]
        text = ": ".join(parts)
        return f"{text}; {self.suggestion}" if self.suggestion else text


class InvalidConfigError(ConfigError):
    """The configuration can't be used; `problems` holds every problem found, in the order of their places."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        number = len(self.problems)
        title = "1 problem" if number == 1 else f"{number} problems"
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"{title} in the configuration:{lines}")


def did_you_mean(got: str, choices: Iterable[str], prefix: str = "") -> str | None:
    """Give "did you mean `x`?" for the nearest choice, or None where none is near. Case doesn't count.

    `prefix` goes before the choice in the answer and has no part in the comparison.
    """
    by_lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(got.lower()[:200], by_lower, n=1, cutoff=0.6)
    return f"did you mean `{prefix}{by_lower[near[0]]}`?" if near else None


def quoted(value: object) -> str:
    """Show what was got: short, on one line, in ASCII where it isn't printable. Not for secrets."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value) if str(value).isprintable() else ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
