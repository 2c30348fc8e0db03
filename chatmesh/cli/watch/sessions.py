"""`chatmesh sessions`: what each session does, who answers it and which pods have readers of it."""

from __future__ import annotations

import argparse
from typing import Any

import orjson

from chatmesh.broker import Broker
from chatmesh.cli import table
from chatmesh.cli.settings import load_settings
from chatmesh.cli.short import ask
from chatmesh.cli.watch.words import count, short
from chatmesh.errors import Exit
from chatmesh.operate.members import read_members
from chatmesh.operate.sessions import Activity, Session, Sessions, Wanted, list_sessions

_HEAD = ("SESSION", "MESSAGE", "ATTEMPT", "WORKER", "CLAIMED", "UNANSWERED", "READERS AT", "STATE")
_COLOURS = {Activity.RUNNING: "green", Activity.QUEUED: "yellow", Activity.IDLE: ""}
_PODS_SHOWN = 40
_TIME_SHOWN = 24


def sessions(namespace: argparse.Namespace) -> int:
    config = load_settings(namespace).config
    wanted = Wanted(
        namespace.ids,
        None if namespace.state is None else Activity(namespace.state),
        namespace.worker,
        namespace.pod,
        namespace.limit,
        namespace.before,
    )

    async def question(broker: Broker) -> Sessions:
        members = await read_members(broker, interval_seconds=config.heartbeat.interval_seconds)
        return await list_sessions(broker, members, wanted)

    found = ask(config, question)
    if namespace.json:
        print(orjson.dumps(_wire(found), option=orjson.OPT_INDENT_2).decode())
    else:
        print(_text(found))
    return Exit.OK


def _wire(found: Sessions) -> dict[str, Any]:
    return {
        "sessions": [_session(session) for session in found.sessions],
        "next": found.following,
        "more_busy": found.has_more_busy,
    }


def _session(session: Session) -> dict[str, Any]:
    claim = None
    if session.held is not None:
        held = session.held.claim
        claim = {
            "message_id": held.message_id,
            "worker_id": held.worker_id,
            "attempt": held.attempt,
            "timestamp": held.timestamp,
            "handed_over": held.handed_over,
        }
    return {
        "session_id": session.session_id,
        "state": session.activity,
        "unanswered": session.unanswered,
        "claim": claim,
        "pods": session.pods,
    }


def _text(found: Sessions) -> str:
    rows = [_row(session) for session in found.sessions]
    colours = [_COLOURS[session.activity] for session in found.sessions]
    parts = [table.render(_HEAD, rows, colours)] if rows else []
    said = [f"{count(len(rows), 'session')}."]
    if found.has_more_busy:
        said.append("More are queued or running: --limit.")
    if found.following is not None:
        said.append(f"There may be older ones: --before {found.following}.")
    return "\n\n".join([*parts, " ".join(said)])


def _row(session: Session) -> tuple[str, ...]:
    claim = session.held.claim if session.held is not None else None
    claimed = ("-", "-", "-", "-")
    if claim is not None:
        worker = "(handed over)" if claim.handed_over else claim.worker_id
        claimed = (claim.message_id, str(claim.attempt), worker, short(claim.timestamp or "-", _TIME_SHOWN))
    return (
        session.session_id,
        *claimed,
        str(session.unanswered),
        short(", ".join(session.pods) or "-", _PODS_SHOWN),
        session.activity,
    )
