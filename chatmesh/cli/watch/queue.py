"""`chatmesh queue`: what is not answered yet, and how full the streams are."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

import orjson

from chatmesh.broker import Broker
from chatmesh.broker.storage import ALARM_RATIO, REFUSE_RATIO
from chatmesh.cli import table
from chatmesh.cli.settings import load_settings
from chatmesh.cli.short import ask
from chatmesh.cli.watch.words import ago, count, share, size
from chatmesh.errors import Exit
from chatmesh.operate.members import read_members
from chatmesh.operate.queue import Fill, Queue, Stage, Unanswered, read_queue

HEAD = ("SESSION", "MESSAGE", "AGE", "SIZE", "DELIVERIES", "ATTEMPT", "WORKER", "STAGE")
COLOURS = {Stage.RUNNING: "green", Stage.PARKED: "yellow", Stage.WAITING: "yellow"}
_FILL_HEAD = ("STREAM", "MESSAGES", "SIZE", "LIMIT", "FILL")


def queue(namespace: argparse.Namespace) -> int:
    config = load_settings(namespace).config

    async def question(broker: Broker) -> Queue:
        members = await read_members(broker, interval_seconds=config.heartbeat.interval_seconds)
        return await read_queue(broker, members, limit=namespace.limit)

    found = ask(config, question)
    if namespace.json:
        print(orjson.dumps(wire(found), option=orjson.OPT_INDENT_2).decode())
    else:
        print("\n\n".join([text(found), _fills(found)]))
    return Exit.OK


def wire(found: Queue) -> dict[str, Any]:
    return asdict(found)


def text(found: Queue) -> str:
    rows = [row(each) for each in found.requests]
    colours = [COLOURS[each.stage] for each in found.requests]
    parts = [table.render(HEAD, rows, colours)] if rows else []
    return "\n\n".join([*parts, summary(found)])


def row(each: Unanswered) -> tuple[str, ...]:
    message = "(undecodable)" if each.message_id is None else each.message_id
    return (
        table.plain(each.session_id),
        f"{message} (erases)" if each.erases else message,
        ago(each.age_seconds),
        size(each.size_bytes),
        "-" if each.deliveries is None else str(each.deliveries),
        "-" if each.attempt is None else str(each.attempt),
        table.plain(each.worker_id or "-"),
        each.stage,
    )


def summary(found: Queue) -> str:
    said = [f"{count(found.unanswered, 'message')} unanswered"]
    if len(found.requests) < found.unanswered:
        said[0] += f", the oldest {len(found.requests):,} shown"
    if found.consumer is not None:
        said.append(f"{found.consumer.ack_pending:,} at a worker")
        said.append(f"{found.consumer.pending:,} not delivered yet")
        said.append(f"{count(found.consumer.waiting_pulls, 'pull')} waiting for more")
    else:
        said.append("there is no consumer")
    said.append(count(found.dead_letters, "dead letter"))
    return "; ".join(said) + "."


def fill_colour(fill: Fill) -> str:
    ratio = fill.ratio or 0.0
    if ratio >= REFUSE_RATIO:
        return "red"
    return "yellow" if ratio >= ALARM_RATIO else "green"


def _fills(found: Queue) -> str:
    rows = [
        (
            fill.stream,
            f"{fill.messages:,}",
            size(fill.bytes),
            size(fill.max_bytes) if fill.max_bytes > 0 else "-",
            share(fill.ratio),
        )
        for fill in found.streams
    ]
    return table.render(_FILL_HEAD, rows, [fill_colour(fill) for fill in found.streams])
