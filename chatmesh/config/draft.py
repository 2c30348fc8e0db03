"""What was given so far, untyped, with the place where each value came from. Layers are laid over each other here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from chatmesh.config.keys import Place, dotted
from chatmesh.config.problems import Problem

OriginKind = Literal["default", "file", "environment", "flag"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: `where` is "config/pod.yaml:12", "CHATMESH_HTTP__PORT" or "--set http.port=1".

    The value of a flag is left out of `where` for a secret. `column` counts from 1, for files only.
    """

    kind: OriginKind
    where: str
    column: int | None = None

    @property
    def exact(self) -> str:
        """`where` with the column, for problems."""
        return self.where if self.column is None else f"{self.where}:{self.column}"

    def __str__(self) -> str:
        return self.where


DEFAULT = Origin("default", "default")


@dataclass(slots=True)
class Draft:
    """Plain values, the origin of every key and item, and the problems found while reading.

    `veiled` names the places whose value came out of a variable or is a secret: it is never quoted.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Place, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    veiled: set[Place] = field(default_factory=set)

    def lay_over(self, other: Draft) -> None:
        """Put another layer on top: its mappings join ours key by key, all else of it replaces ours.

        What was wrong with a replaced value is forgotten with it: it has no effect any more.
        """
        self._join((), self.values, other.values)
        self.origins |= other.origins
        self.veiled |= other.veiled
        self.problems += other.problems

    def _join(self, place: Place, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
        for key, value in theirs.items():
            here = (*place, key)
            if isinstance(ours.get(key), dict) and isinstance(value, dict):
                self._join(here, ours[key], value)
            else:
                self._forget(here)
                ours[key] = value

    def _forget(self, place: Place) -> None:
        for known in [known for known in self.origins if known[: len(place)] == place]:
            del self.origins[known]
            self.veiled.discard(known)
        path = dotted(place)
        self.problems = [
            problem
            for problem in self.problems
            if not (problem.path + ".").startswith((path + ".", path + "["))
        ]

    def origin_of(self, place: Place) -> Origin:
        """Give the origin of a value, or of the nearest thing around it that was given, or of the first one in it."""
        for length in range(len(place), 0, -1):
            if place[:length] in self.origins:
                return self.origins[place[:length]]
        within = (origin for known, origin in self.origins.items() if known[: len(place)] == place)
        return next(within, DEFAULT)

    def is_veiled(self, place: Place) -> bool:
        """Whether the value, or something around it, must not be quoted."""
        return any(place[:length] in self.veiled for length in range(1, len(place) + 1))
