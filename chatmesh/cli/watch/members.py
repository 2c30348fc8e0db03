"""`chatmesh ps`: pods and workers, by their heartbeats."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from chatmesh.cli import table
from chatmesh.cli.settings import load_settings
from chatmesh.cli.short import ask
from chatmesh.cli.watch.words import ago, count, short
from chatmesh.errors import Exit
from chatmesh.operate.members import Member, Members, State, read_members

HEAD = ("ROLE", "ID", "LOAD", "MEMORY", "CPU", "HEARD", "MODELS", "STATE")
COLOURS = {State.ALIVE: "green", State.SILENT: "red", State.GONE: "yellow"}
_MODELS_SHOWN = 50
_STATUS_SHOWN = 20


def ps(namespace: argparse.Namespace) -> int:
    config = load_settings(namespace).config
    found = ask(config, partial(read_members, interval_seconds=config.heartbeat.interval_seconds))
    if namespace.role is not None:
        own = tuple(each for each in found.members if each.heartbeat.role == namespace.role)
        found = replace(found, members=own)
    if namespace.json:
        print(orjson.dumps(wire(found), option=orjson.OPT_INDENT_2).decode())
    else:
        print(text(found))
    return Exit.OK


def wire(found: Members) -> dict[str, Any]:
    return {
        "members": [_wire(member) for member in found.members],
        "unreadable": found.unreadable,
        "more": found.more,
    }


def text(found: Members) -> str:
    rows = [row(member) for member in found.members]
    colours = [colour(member) for member in found.members]
    parts = [table.render(HEAD, rows, colours)] if rows else []
    return "\n\n".join([*parts, summary(found)])


def row(member: Member) -> tuple[str, ...]:
    """As the head says. `load`: open event streams of a pod, answers that a worker generates."""
    beat = member.heartbeat
    load = beat.active_generations if beat.role == "worker" else beat.active_connections
    return (
        beat.role,
        beat.id,
        short(str(load), 12),
        short(f"{beat.memory_usage_mb:.0f} MB", 12),
        short(f"{beat.cpu_usage_percent:.0f} %", 8),
        ago(member.age_seconds),
        short(", ".join(beat.models) or "-", _MODELS_SHOWN),
        _state(member),
    )


def colour(member: Member) -> str:
    is_well = member.state is not State.ALIVE or member.heartbeat.status == "healthy"
    return COLOURS[member.state] if is_well else "yellow"


def summary(found: Members) -> str:
    parts = [f"{count(_number(found.members, role, State.ALIVE), role)}" for role in ("pod", "worker")]
    lost = [
        f"{number:,} {state}"
        for state in (State.SILENT, State.GONE)
        if (number := sum(member.state is state for member in found.members))
    ]
    said = [f"{' and '.join(parts)} alive{''.join(f', {each}' for each in lost)}."]
    if found.unreadable:
        said.append(f"{count(found.unreadable, 'heartbeat')} can't be read.")
    if found.more:
        said.append("There are more than are shown.")
    return " ".join(said)


def _number(members: Sequence[Member], role: str, state: State) -> int:
    return sum(member.heartbeat.role == role and member.state is state for member in members)


def _state(member: Member) -> str:
    """Of who lives, what he says of himself."""
    if member.state is State.ALIVE:
        return short(member.heartbeat.status, _STATUS_SHOWN)
    return member.state


def _wire(member: Member) -> dict[str, Any]:
    beat = member.heartbeat
    loads = {"active_connections": beat.active_connections}
    if beat.role == "worker":
        loads = {"active_generations": beat.active_generations}
    return {
        "role": beat.role,
        "id": beat.id,
        "state": member.state,
        "status": beat.status,
        **loads,
        "memory_usage_mb": beat.memory_usage_mb,
        "cpu_usage_percent": beat.cpu_usage_percent,
        "models": beat.models,
        "boot": beat.boot,
        "heard_at": member.heard_at,
        "age_seconds": round(member.age_seconds, 3),
    }
