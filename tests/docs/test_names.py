"""What the pages name exists: tests, commands and options, configuration keys, environment variables, log events."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from chatmesh.cli.commands import parser
from chatmesh.config.keys import all_keys
from chatmesh.config.sources import RESERVED
from chatmesh.telemetry import metrics
from tests.docs.pages import PAGES, ROOT, Page, page, pages

_TEST = re.compile(r"\b(tests/[\w/]+\.py)(?:::(\w+))?")
_COMMAND = re.compile(r"(?:^|[\s;&|(])(?:\.venv/bin/)?chatmesh ((?:[a-z]+|--[a-z]).*)")
_VARIABLE = re.compile(r"\bCHATMESH_[A-Z][A-Z0-9_]*[A-Z0-9]\b")
_SECTIONS = {path[0] for path in all_keys() if len(path) > 1}
_CODE = {path: path.read_text(encoding="utf-8") for path in (ROOT / "chatmesh").rglob("*.py")}

every_page = pytest.mark.parametrize(
    "here", [Page(path) for path in PAGES], ids=[str(path.relative_to(ROOT)) for path in PAGES]
)


@every_page
def test_every_test_that_is_named_exists(here: Page) -> None:
    missing = [
        f"{file}::{name}"
        for file, name in _TEST.findall(here.text)
        if not (ROOT / file).exists() or (name and name not in _tests_in(ROOT / file))
    ]
    assert not missing, f"{here.name}: {missing}"


@every_page
def test_every_command_that_is_named_is_parsed(here: Page) -> None:
    named = [line for block in here.blocks("sh") + here.blocks("sh tour") for line in block.splitlines()]
    wrong = [line for line in named + here.spans if (call := _call_in(line)) and not _is_parsed(call)]
    assert not wrong, f"{here.name}: {wrong}"


@every_page
def test_every_configuration_key_that_is_named_exists(here: Page) -> None:
    known = {".".join(path) for path in all_keys()}
    wrong = [span for span in map(_key_in, here.spans) if span is not None and span not in known]
    assert not wrong, f"{here.name}: {wrong}"


@every_page
def test_every_variable_that_is_named_exists(here: Page) -> None:
    known = {key.environment for key in all_keys().values()}
    known |= {*RESERVED, "CHATMESH_SECTION__KEY"}
    wrong = set(_VARIABLE.findall(here.text)) - known
    assert not wrong, f"{here.name}: {wrong}"


def test_every_log_event_in_the_table_is_in_the_code() -> None:
    code = "".join(_CODE.values())
    kinds = {f"kernel.{word}" for word in re.findall(r'= "(\w+)"', _CODE[ROOT / "chatmesh/kernel/events.py"])}
    events = re.findall(
        r"`([a-z]+\.[a-z_]+)`", page("docs/operations.md").section("Logs").partition("|---|")[2]
    )
    named = [event for event in events if event.partition(".")[0] not in _SECTIONS]
    assert len(named) > 15
    assert not [event for event in named if f'"{event}"' not in code and event not in kinds]


def test_every_error_that_is_logged_is_in_the_table() -> None:
    logged = {
        event
        for code in _CODE.values()
        for event in re.findall(r'log\.(?:error|exception)\(\s*"([a-z]+\.[a-z_]+)"', code)
    }
    assert len(logged) > 15
    assert not {event for event in logged if f"`{event}`" not in page("docs/operations.md").section("Logs")}


def test_every_metric_that_is_named_is_declared() -> None:
    declared = "".join(
        value for value in _CODE[Path(metrics.__file__)].split('"') if value.startswith("chatmesh_")
    )
    named = {name for here in pages() for name in re.findall(r"\bchatmesh_[a-z_]+\b(?!/)", here.text)}
    series = {re.sub("_(bucket|count|sum)$", "", name) for name in named}
    assert not {name for name in series if name not in declared}


@cache
def _tests_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def _key_in(span: str) -> str | None:
    """The key that a span names, `worker.concurrency` or `nats.embedded: true`; None for what is no key."""
    found = re.fullmatch(r"([a-z]+(?:\.[a-z_]+)+)(?:[:=] ?.*)?", span)
    is_key = (
        found is not None
        and found[1].partition(".")[0] in _SECTIONS
        and not found[1].endswith((".yaml", ".py"))
    )
    return found[1] if found is not None and is_key else None


def _call_in(line: str) -> list[str] | None:
    """The arguments of a call of chatmesh in a line of shell, or None where there is none."""
    found = _COMMAND.search(line)
    if found is None:
        return None
    words = re.split(r"\s(?:\d?>|[|&;#]|&&)|;", found[1])[0]
    return [word for word in shlex.split(words) if word != "…"]


def _is_parsed(arguments: list[str]) -> bool:
    # `check`, `dev` and others may stand alone; what needs an argument is named with one or by its name only.
    try:
        parser().parse_args(arguments)
    except SystemExit:
        return len(arguments) == 1 and arguments[0] in {"config", "dlq", "health", "streams", "verify"}
    return True
