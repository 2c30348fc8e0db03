"""Pydantic's errors become problems: the place in the words of the configuration, what was expected, what was got."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from chatmesh.config.broken import RULE_BROKEN
from chatmesh.config.draft import Draft, Origin
from chatmesh.config.expected import choices, expected_at, info_at
from chatmesh.config.keys import Place, all_keys, dotted, leaf_keys
from chatmesh.config.models import ModelConfig
from chatmesh.config.problems import Problem, did_you_mean, quoted
from chatmesh.config.rules import broken_rules


def problems_of(errors: Iterable[Any], draft: Draft) -> Iterator[Problem]:
    """Give one problem for each error, then one for each broken rule. What was reported while reading is not repeated."""
    known = {problem.path for problem in draft.problems}
    for error in errors:
        place = tuple(part for part in error["loc"] if part != "[key]")
        if error["type"] != RULE_BROKEN and dotted(place) not in known:
            yield _problem(error, place, draft)
    for broken in broken_rules(draft.values):
        if dotted(broken.path) not in known:
            yield Problem(dotted(broken.path), draft.origin_of(broken.path).exact, broken.message)


def _problem(error: dict[str, Any], place: Place, draft: Draft) -> Problem:
    origin = draft.origin_of(place)
    if error["type"] == "extra_forbidden":
        return Problem(
            dotted(place),
            origin.exact,
            "expected a known key, got an unknown one",
            _nearest_key(place, origin),
        )
    if error["type"] == "missing":
        return Problem(dotted(place), origin.exact, f"expected {expected_at(place)}, got nothing")
    if error["type"] == "value_error" and not draft.is_veiled(place):
        return Problem(
            dotted(place), origin.exact, str(error["ctx"]["error"]), _nearest_word(place, error["input"])
        )
    veiled = draft.is_veiled(place)
    got = "a value that is not shown" if veiled else quoted(error["input"])
    suggestion = None if veiled else _nearest_word(place, error["input"])
    return Problem(dotted(place), origin.exact, f"expected {expected_at(place)}, got {got}", suggestion)


def _nearest_word(place: Place, got: object) -> str | None:
    info = info_at(place)
    return did_you_mean(got, choices(info)) if info and isinstance(got, str) else None


def _nearest_key(place: Place, origin: Origin) -> str | None:
    """Look among the section's keys first, then for a key of that very name in another section."""
    *above, name = place
    siblings = [key.path[-1] for key in all_keys().values() if key.path[:-1] == tuple(above)]
    if above[:1] == ["models"] and len(above) == 2:
        siblings = list(ModelConfig.model_fields)
    near = did_you_mean(str(name), siblings)
    if near:
        return near
    elsewhere = [key.dotted for key in leaf_keys() if key.path[-1] == name]
    return f"did you mean `{elsewhere[0]}`?" if elsewhere else None
