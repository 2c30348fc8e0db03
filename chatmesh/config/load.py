"""File, environment and flags come in; one typed tree with the origin of every value goes out, or every problem at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from chatmesh.config.draft import DEFAULT, Draft, Origin
from chatmesh.config.keys import Kind, Place, dotted, leaf_keys
from chatmesh.config.problems import InvalidConfigError, Problem
from chatmesh.config.secrets import read_secret_files
from chatmesh.config.sources import from_environment, from_file, from_flags
from chatmesh.config.translate import problems_of
from chatmesh.config.tree import Config


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and where each value came from.

    `origins` has an entry for every key that holds a value, by its dotted path, the defaults too; for `models` one for
    each key of each model. `veiled` names the paths whose value came out of a variable: not to be shown where nobody
    knows that it is no secret.
    """

    config: Config
    origins: Mapping[str, Origin]
    veiled: frozenset[str] = frozenset()


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    overrides: Sequence[str] = (),
    role: str | None = None,
    id: str | None = None,
) -> Loaded:
    """Read the configuration: the file, over it CHATMESH_SECTION__KEY, over that `--set`, `--role` and `--id`.

    `path` None reads no file; CHATMESH_CONFIG is not looked at, that is the caller's. `role` is pod, worker or all.
    Relative paths in values are left as they are. Raises InvalidConfigError (a ConfigError) with every problem, and
    nothing else; no secret is in it.
    """
    draft = from_file(path, environ) if path is not None else Draft()
    draft.lay_over(from_environment(environ))
    draft.lay_over(from_flags(overrides, role, id))
    read_secret_files(draft)
    config = _validated(draft)
    return Loaded(config, MappingProxyType(_origins(config, draft)), frozenset(map(dotted, draft.veiled)))


def _validated(draft: Draft) -> Config:
    config: Config | None = None
    errors: list[Any] = []
    try:
        config = Config.model_validate(draft.values)
    except ValidationError as error:
        errors = list(error.errors(include_url=False))
    # Raised outside of `except`, so that pydantic's error, which holds the values, is not its context.
    problems = [*draft.problems, *problems_of(errors, draft)]
    if config is None or problems:
        raise InvalidConfigError(_in_order(problems))
    return config


def _in_order(problems: list[Problem]) -> list[Problem]:
    """Order by place: a file's lines as numbers, then the rest as it was found; equal ones once."""

    def place(problem: Problem) -> tuple[str, tuple[int, ...]]:
        _name, *numbers = problem.origin.rsplit(":", 2)
        if len(numbers) == 2 and all(number.isdecimal() for number in numbers):
            return "", tuple(map(int, numbers))
        return "later", ()

    return sorted(dict.fromkeys(problems), key=place)


def _origins(config: Config, draft: Draft) -> dict[str, Origin]:
    return {dotted(place): draft.origins.get(place, DEFAULT) for place in _places(config)}


def _places(config: Config) -> Iterator[Place]:
    for key in leaf_keys():
        if key.kind is not Kind.MODELS:
            yield key.path
            continue
        for name, model in config.models.items():
            yield from (("models", name, option) for option in model.keys)
