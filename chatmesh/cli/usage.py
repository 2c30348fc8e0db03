"""`chatmesh usage`: what answers took, in tokens and in money, by model, user, session, message, attempt, day or end."""

from __future__ import annotations

import argparse
import re
import time
from datetime import UTC, datetime
from functools import partial

import orjson

from chatmesh.cli import table
from chatmesh.cli.named import named
from chatmesh.cli.settings import load_settings
from chatmesh.cli.short import ask
from chatmesh.errors import ConfigError, Exit
from chatmesh.operate.bill import Line
from chatmesh.operate.usage import Usage
from chatmesh.operate.usage import usage as read_usage

_NUMBERS = ("MESSAGES", "CALLS", "PROMPT", "GENERATED", "DELIVERED", "DISCARDED", "COST")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def usage(namespace: argparse.Namespace) -> int:
    session_id = None if namespace.session is None else named(namespace.session, "--session")
    since = 0.0 if namespace.since is None else _since(namespace.since, time.time())
    question = partial(read_usage, by=namespace.by, since=since, session_id=session_id)
    found = ask(load_settings(namespace).config, question)
    if namespace.json:
        print(orjson.dumps(_wire(found, namespace.by), option=orjson.OPT_INDENT_2).decode())
    else:
        print(_text(found, namespace.by))
    return Exit.OK


def _since(text: str, now: float) -> float:
    """Unix seconds. Raises ConfigError for what is no time."""
    if found := re.fullmatch(r"(\d{1,9})([smhd])", text):
        return now - int(found[1]) * _SECONDS[found[2]]
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"--since must be a time, got {text!r:.80}",
            mend="Give it as 30m, 24h or 7d, or as 2026-11-26 or 2026-11-26T12:00.",
        ) from error
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()


def _wire(found: Usage, by: str) -> dict[str, object]:
    return {
        "by": by,
        "lines": [line.wire() for line in found.bill.lines],
        "total": found.bill.total.wire(),
        "unfinished": found.unfinished,
        "unreadable": found.unreadable,
    }


def _text(found: Usage, by: str) -> str:
    lines = [*found.bill.lines, found.bill.total]
    rows = [_row(line) for line in lines]
    # Numbers stand to the right, so that they can be compared.
    widths = [max(len(row[at]) for row in [("", *_NUMBERS), *rows]) for at in range(1, len(_NUMBERS) + 1)]
    rows = [
        (row[0], *(cell.rjust(width) for cell, width in zip(row[1:], widths, strict=True))) for row in rows
    ]
    head = (by.upper(), *(name.rjust(width) for name, width in zip(_NUMBERS, widths, strict=True)))
    return "\n\n".join([table.render(head, rows, ["bold"] * len(rows)), _remarks(found)]).rstrip()


def _row(line: Line) -> tuple[str, ...]:
    discarded = line.generated_tokens - line.delivered_tokens
    numbers = (line.messages, line.calls, line.prompt_tokens, line.generated_tokens, line.delivered_tokens)
    cost = "-" if line.cost is None else f"{line.cost:,.4f}"
    return (table.plain(line.key), *(f"{number:,}" for number in (*numbers, discarded)), cost)


def _remarks(found: Usage) -> str:
    total = found.bill.total
    said = []
    if total.counted:
        said.append(
            f"{total.counted:,} of {total.calls:,} calls were counted here: their provider did not say how many tokens "
            "they took, or they were cut off."
        )
    if found.unfinished:
        said.append(f"{found.unfinished:,} messages have not ended; they are not in it yet.")
    if found.unreadable:
        said.append(f"{found.unreadable:,} messages hold what is no record: `chatmesh verify` says more.")
    return "\n".join(said)
