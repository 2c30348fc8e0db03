"""Logs: one JSON object a line, the field's keys, and nothing of what people and models wrote."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import chatmesh

HOUSE = Path(chatmesh.__file__).parent
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
SAID = {
    "body",
    "chunk",
    "chunks",
    "content",
    "context",
    "data",
    "delta",
    "message",
    "prompt",
    "text",
    "texts",
}
"""Names of what people and models wrote."""

PARSER = "chatmesh/web/connection.py"
"""What it calls `message` are the HTTP parser's words."""

TREE = "chatmesh/app/children.py"
"""Tells what happens in the tree, in the kernel's name: the kernel itself knows no logs."""

PROGRAM = """
import logging
from chatmesh.telemetry import configure_logging, get_logger
configure_logging(level="info", style={style!r}, bound={{"pod_id": "pod-1"}})
log = get_logger("hub")
log.debug("hub.silent")
log.info("hub.stream", session_id="s", message_id="m", subject="chat.x", latency_ms=3)
try:
    raise KeyError("lost")
except KeyError:
    log.exception("hub.crashed")
logging.getLogger("nats").warning("slow %s", "consumer")
"""


def lines(style: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(style=style)], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "", "stdout is data"
    return ran.stderr.splitlines()


@pytest.mark.parametrize("style", ["json", "auto"])
def test_away_from_a_terminal_every_line_is_a_json_object(style: str) -> None:
    stream, crash, library = (json.loads(line) for line in lines(style))
    assert stream.pop("timestamp").endswith("Z")
    assert stream == {
        "event": "hub.stream",
        "level": "info",
        "room": "hub",
        "pod_id": "pod-1",
        "session_id": "s",
        "message_id": "m",
        "subject": "chat.x",
        "latency_ms": 3,
    }
    assert "KeyError" in crash["exception"]
    assert (library["event"], library["level"], library["pod_id"]) == ("slow consumer", "warning", "pod-1")


def test_a_person_reads_plain_lines() -> None:
    written = lines("pretty")
    assert "hub.stream" in written[0]
    assert "hub.silent" not in "\n".join(written)
    with pytest.raises(json.JSONDecodeError):
        json.loads(written[0])


# --- what every log call in the house says ------------------------------------------------------------------------------


def calls() -> Iterator[tuple[str, ast.Call]]:
    for file in sorted(HOUSE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=attr)) if attr in LEVELS:
                    yield f"{file.relative_to(HOUSE.parent)}:{node.lineno}", node


def values(call: ast.Call) -> Iterator[ast.expr]:
    yield from call.args[1:]
    yield from (keyword.value for keyword in call.keywords)


def said(value: ast.expr) -> set[str]:
    """Names in `value` of what people and models wrote; `message.subject` is none, `request.message` is one."""
    owners = {id(node.value) for node in ast.walk(value) if isinstance(node, ast.Attribute)}
    names = {node.attr for node in ast.walk(value) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(value) if isinstance(node, ast.Name) and id(node) not in owners}
    return names & SAID


def test_no_log_call_passes_what_people_and_models_wrote() -> None:
    found = {
        place: said(value)
        for place, call in calls()
        for value in values(call)
        if said(value) and not place.startswith(PARSER)
    }
    assert not found


def test_no_log_key_is_named_after_what_people_and_models_wrote() -> None:
    keys = {(place, keyword.arg) for place, call in calls() for keyword in call.keywords}
    assert not {(place, key) for place, key in keys if key in SAID}


def test_every_log_event_is_a_constant_room_and_verb() -> None:
    odd = []
    for place, call in calls():
        room = place.split("/")[1]
        allowed = {room, "app"} if room == "cli" else {room}
        match call.args:
            case [ast.Constant(value=str(event))] if re.fullmatch(r"[a-z]+\.[a-z_]+", event):
                if event.split(".")[0] not in allowed:
                    odd.append(place)
            case _ if not place.startswith(TREE):
                odd.append(place)
    assert not odd


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("request.message", {"message"}),
        ("str(prompt)", {"prompt"}),
        ("len(record.chunks)", {"chunks"}),
        ("message.subject", set()),
        ("request.message_id", set()),
        ("f'{text}'", {"text"}),
    ],
)
def test_the_check_knows_a_text_from_an_identifier(code: str, names: set[str]) -> None:
    assert said(ast.parse(code, mode="eval").body) == names


def test_there_are_log_calls_to_check() -> None:
    assert len(list(calls())) > 20
