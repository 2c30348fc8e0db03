"""Logs: JSON lines for machines, readable ones on a terminal, colours only where they are wanted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import run_on_terminal
from tests.support.processes import free_port

pytestmark = pytest.mark.slow

_LOGGING = """
import asyncio, logging, warnings
from chatmesh.telemetry import configure_logging, get_logger
configure_logging(level="info", style={style!r}, bound={{"id": "me"}})
get_logger("room").info("room.said", key="value")
logging.getLogger("library").warning("a %s", "warning")
secret = "xyzzy-secret"
try:
    1 / 0
except ZeroDivisionError:
    get_logger("room").exception("room.failed")
    logging.getLogger("library").exception("failed")
"""


def _logged(style: str) -> str:
    code = _LOGGING.format(style=style)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout
    return done.stderr


def test_every_line_is_a_json_object_of_libraries_and_exceptions_too() -> None:
    said, warned, failed, library_failed = [json.loads(line) for line in _logged("json").splitlines()]
    assert said.items() >= {"event": "room.said", "room": "room", "key": "value", "id": "me"}.items()
    assert (
        warned.items() >= {"event": "a warning", "logger": "library", "level": "warning", "id": "me"}.items()
    )
    for line in (failed, library_failed):
        assert "ZeroDivisionError" in line["exception"]
        assert line["level"] == "error"


@pytest.mark.parametrize("style", ["json", "pretty"])
def test_traceback_shows_no_local_variables(style: str) -> None:
    """They may be passwords. `rich`, where it is installed, would show them all."""
    shown = _logged(style)
    assert "ZeroDivisionError" in shown
    assert "xyzzy" not in shown


@pytest.mark.parametrize(
    ("env", "settings", "is_pretty", "is_coloured"),
    [
        ({}, [], True, True),
        ({"NO_COLOR": "1"}, [], True, False),
        pytest.param({}, ["log.format=json"], False, False, marks=pytest.mark.slow),
        pytest.param({}, ["log.format=pretty"], True, True, marks=pytest.mark.slow),
    ],
)
def test_terminal_gets_readable_lines_and_colours_unless_it_says_no(
    tmp_path: Path, env: dict[str, str], settings: list[str], is_pretty: bool, is_coloured: bool
) -> None:
    """A command that fails is enough: it logs on its way."""
    url = f"nats.servers=nats://127.0.0.1:{free_port()}"
    given = [part for setting in (url, "nats.connect_seconds=0.2", *settings) for part in ("--set", setting)]
    shown = run_on_terminal(tmp_path, "run", "--role", "worker", *given, env=env)
    *logged, last = shown.splitlines()
    assert logged
    assert last.startswith("chatmesh: ")
    assert all(line.startswith("{") for line in logged) is not is_pretty
    assert ("\x1b[" in shown) is is_coloured
