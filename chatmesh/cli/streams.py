"""`chatmesh streams ensure`: the declared streams beside the real ones, and making them agree when told to."""

from __future__ import annotations

import argparse
from typing import Any

import orjson

from chatmesh import operate
from chatmesh.broker import Broker
from chatmesh.cli import table
from chatmesh.cli.settings import load_settings
from chatmesh.cli.short import ask
from chatmesh.errors import Exit
from chatmesh.operate import Action, Change, Part

_HEAD = ("WHERE", "FIELD", "DECLARED", "REAL", "")


def ensure(namespace: argparse.Namespace) -> int:
    async def question(broker: Broker) -> list[Part]:
        parts = await operate.look(broker)
        return await operate.apply(broker, parts) if namespace.apply else parts

    parts = ask(load_settings(namespace).config, question)
    if namespace.json:
        print(orjson.dumps(_wire(parts), option=orjson.OPT_INDENT_2).decode())
    else:
        print(_text(parts, was_applied=namespace.apply))
    return Exit.OK if _agrees(parts) else Exit.FAILED


def _agrees(parts: list[Part]) -> bool:
    return all(part.is_as_declared for part in parts)


def _wire(parts: list[Part]) -> dict[str, Any]:
    return {"agrees": _agrees(parts), "parts": [_part(part) for part in parts]}


def _part(part: Part) -> dict[str, Any]:
    return {
        "kind": part.kind,
        "name": part.name,
        "state": "missing" if part.is_missing else "differs" if part.changes else "agrees",
        "action": part.action,
        "agrees": part.is_as_declared,
        "error": part.error,
        "differences": [
            {
                "field": change.difference.field,
                "declared": change.difference.declared,
                "actual": change.difference.actual,
                "harmless": change.difference.is_harmless,
                "obstacle": change.obstacle,
                "changed": change.is_done,
            }
            for change in part.changes
        ],
    }


def _text(parts: list[Part], *, was_applied: bool) -> str:
    rows: list[tuple[str, ...]] = []
    colours: list[str] = []
    for part in parts:
        for row, colour in _rows(part, was_applied=was_applied):
            rows.append(row)
            colours.append(colour)
    summary = _summary(parts, was_applied=was_applied)
    if not rows:
        return summary
    return "\n\n".join([table.render(_HEAD, rows, colours), *_reasons(parts), summary])


def _rows(part: Part, *, was_applied: bool) -> list[tuple[tuple[str, ...], str]]:
    if part.is_missing:
        if part.action is Action.CREATED:
            word, colour = "created", "green"
        else:
            word, colour = ("refused, see below", "red") if part.error else ("--apply creates it", "yellow")
        return [((part.name, f"({part.kind})", "there", "missing", word), colour)]
    found: list[tuple[tuple[str, ...], str]] = []
    for change in part.changes:
        difference = change.difference
        word, colour = _fate(part, change, was_applied=was_applied)
        found.append(((part.name, difference.field, *difference.shown, word), colour))
    return found


def _fate(part: Part, change: Change, *, was_applied: bool) -> tuple[str, str]:
    if change.is_done:
        return "changed", "green"
    if change.obstacle is not None:
        return "can't be changed, see below", "red"
    if part.error is not None:
        return "refused, see below", "red"
    if was_applied:
        return "left alone, see below", "red"
    if change.difference.is_harmless:
        return "harmless: the next start changes it, or --apply", "yellow"
    return "--apply changes it", "yellow"


def _reasons(parts: list[Part]) -> list[str]:
    reasons: list[str] = []
    for part in parts:
        if part.error is not None:
            reasons.append(f"{part.name}: {part.error}")
        reasons += [
            f"{part.name}, {change.difference.field}: {change.obstacle}"
            for change in part.changes
            if change.obstacle is not None
        ]
    return reasons


def _summary(parts: list[Part], *, was_applied: bool) -> str:
    differing = [part for part in parts if not part.is_as_declared]
    if not differing:
        return f"All as declared: {len(parts) - 1} streams and their consumer."
    names = ", ".join(part.name for part in differing)
    if was_applied:
        return f"Not as declared: {names}."
    return f"Not as declared: {names}. Nothing was changed; `chatmesh streams ensure --apply` changes what it can."
