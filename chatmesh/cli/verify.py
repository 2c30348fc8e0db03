"""`chatmesh verify SESSION`: what is stored of a session, message by message, and whether it is what was promised."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from functools import partial
from typing import Any

import orjson

from chatmesh import operate
from chatmesh.cli import table
from chatmesh.cli.named import named
from chatmesh.cli.settings import load_settings
from chatmesh.cli.short import ask
from chatmesh.errors import Exit
from chatmesh.operate import Checked, CheckedMessage, Verdict

_HEAD = ("MESSAGE", "ATTEMPTS", "RECORDS", "CHUNKS", "FINISH", "DIGEST", "VERDICT")
_COLOURS = {Verdict.HOLDS: "green", Verdict.RUNS: "yellow", Verdict.VIOLATED: "red"}
_DIGEST_SHOWN = len("sha256:") + 12


def verify(namespace: argparse.Namespace) -> int:
    session_id = named(namespace.session, "SESSION")
    checked = ask(load_settings(namespace).config, partial(operate.verify, session_id=session_id))
    if namespace.json:
        print(orjson.dumps(_wire(checked), option=orjson.OPT_INDENT_2).decode())
    else:
        print(_text(checked))
    return Exit.OK if checked.holds else Exit.FAILED


def _wire(checked: Checked) -> dict[str, Any]:
    return {"holds": checked.holds} | asdict(checked)


def _text(checked: Checked) -> str:
    rows = [_row(message) for message in checked.messages]
    colours = [_COLOURS[message.verdict] for message in checked.messages]
    violations = [
        f"{violation.kind}: {violation.where}: {violation.what}" for violation in checked.violations
    ]
    parts = [table.render(_HEAD, rows, colours)] if rows else []
    return "\n\n".join([*parts, *(["\n".join(violations)] if violations else []), _summary(checked)])


def _row(message: CheckedMessage) -> tuple[str, ...]:
    counts = (message.attempts, message.records, message.chunks)
    finish = message.finish_reason or "-"
    return (message.message_id, *map(str, counts), finish, _digest(message), message.verdict)


def _digest(message: CheckedMessage) -> str:
    """Short where it agrees; else why there is nothing that could."""
    if message.digest is None:
        return "none" if message.finish_reason else "-"
    if message.computed is None:
        return "not checked: the beginning has expired"
    return message.digest[:_DIGEST_SHOWN] if message.digest == message.computed else "differs"


def _summary(checked: Checked) -> str:
    stored = f"{checked.records} records under {checked.claims} claims"
    if checked.erased:
        stored += f", {checked.erased} messages erased"
    if checked.holds:
        return f"Session {checked.session_id} holds: {stored}."
    return f"Session {checked.session_id} is violated in {len(checked.violations)} places: {stored}."
