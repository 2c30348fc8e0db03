"""The house stands: a module imports only from floors below its own, libraries stay in their rooms, files stay small.

All of it is read from the source (imports inside functions and under TYPE_CHECKING count too); nothing is imported.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "chatmesh"

FLOORS = (
    ("protocol", "kernel", "errors"),
    ("config", "telemetry"),
    ("broker", "providers", "client", "web", "identity", "devbroker", "devmodel"),
    ("ingress", "workflow", "relay", "hub", "presence", "operate"),
    ("console",),
    ("app",),
    ("cli", "__main__"),
)
# Neighbours on one floor that may meet: the families of errors lie under everything but the kernel, which knows no
# chat; and `python -m chatmesh` is nothing but a way to the command line.
NEIGHBOURS = {("protocol", "errors"), ("__main__", "cli")}

# Who may import a library that one room wraps for all others. `identity` fetches an issuer's keys over httpx.
OWNERS = {
    "nats": {"broker"},
    "nkeys": {"broker"},
    "httpx": {"providers", "client", "identity"},
    "aiohttp": {"web"},
    "jwt": {"identity"},
    "rich": {"cli"},
    "markdown_it": {"cli"},
    "opentelemetry": {"telemetry"},
}
# Rooms that live on the standard library, and what else they may have.
FRUGAL: dict[str, set[str]] = {
    "kernel": set(),
    "protocol": {"orjson", "cryptography"},
    "errors": set(),
    "devbroker": set(),
}
# Rooms which may import of chatmesh only what is named here.
SECLUDED = {"devbroker": {"errors", "kernel"}, "devmodel": {"errors"}}

# Files that decide: no `async def`, no `await`. A folder stands for every file in it. Add yours.
PURE = (
    "protocol",
    "errors.py",
    "kernel/token_buckets.py",
    "kernel/restarts.py",
    "broker/silence.py",
    "broker/storage.py",
    "broker/streams.py",
    "broker/reconnects.py",
    "broker/refusals.py",
    "devbroker/configuration.py",
    "relay/batching.py",
    "relay/routing.py",
    "workflow/plan.py",
    "workflow/ledger.py",
    "workflow/spans.py",
    "hub/resume.py",
    "hub/foreign.py",
    "hub/kept.py",
    "hub/channel.py",
    "hub/waves.py",
    "hub/rounds.py",
    "hub/deliveries.py",
    "presence/roster.py",
    "providers/answer.py",
    "providers/anthropic_answer.py",
    "providers/anthropic_request.py",
    "providers/call.py",
    "providers/faults.py",
    "providers/openai_answer.py",
    "providers/openai_request.py",
    "providers/overlap.py",
    "providers/seam.py",
    "providers/settings.py",
    "providers/splitter.py",
    "ingress/conversation.py",
    "ingress/bodies.py",
    "ingress/answers.py",
    "ingress/shares.py",
    "ingress/openai/answers.py",
    "ingress/openai/bodies.py",
    "ingress/openai/caller.py",
    "ingress/openai/failures.py",
    "ingress/openai/mapping.py",
    "ingress/responses/understanding.py",
    "ingress/responses/bodies.py",
    "ingress/responses/answers.py",
    "ingress/vercel/understanding.py",
    "ingress/vercel/bodies.py",
    "ingress/vercel/answers.py",
    "operate/asyncapi.py",
    "operate/bill.py",
    "operate/checks.py",
    "operate/stream_checks.py",
    "operate/findings.py",
    "operate/invariants.py",
    "operate/natsconf.py",
    "operate/permissions.py",
    "operate/promises.py",
    "operate/rates.py",
    "web/failures.py",
    "web/openapi.py",
    "client/answer.py",
    "console/frames.py",
    "console/gauges.py",
    "console/shapes.py",
    "console/timeline.py",
    "identity/api_keys.py",
    "identity/links.py",
    "config/auth_rules.py",
    "client/events.py",
    "client/outcome.py",
    "client/pods.py",
    "cli/talk/blocks.py",
    "cli/talk/failures.py",
    "cli/talk/history.py",
    "cli/talk/words.py",
    "cli/watch/words.py",
    "operate/chaos/plan.py",
    "operate/chaos/check.py",
    "operate/chaos/configured.py",
    "operate/processes/told.py",
    "operate/chaos/recovery.py",
    "operate/chaos/report.py",
    "operate/bench/job.py",
    "operate/bench/quantiles.py",
    "operate/bench/slope.py",
    "operate/bench/beside.py",
    "operate/bench/scenarios.py",
    "operate/bench/measured.py",
    "operate/bench/results.py",
    "operate/bench/tables.py",
    "operate/bench/compare.py",
    "operate/bench/svg.py",
    "operate/bench/report.py",
    "operate/bench/load/wire.py",
    "operate/bench/load/filling.py",
    "operate/bench/load/events.py",
    "operate/bench/load/checked.py",
)

MAX_LINES = 450

FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ASYNC_NODES = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)


def room_violations(house: Path) -> Iterator[str]:
    """Imports that go up, or sideways, and rooms that nobody has given a floor."""
    for path, room, name, line in _imports(house):
        target = name.split(".")[1] if name.startswith("chatmesh.") else None
        if room not in FLOOR_OF and room != "__init__":
            yield f"{path}: {room} stands on no floor; add it to FLOORS"
        elif target is None or target not in FLOOR_OF or target == room:
            continue  # another library, chatmesh itself (its version), or the own room
        elif target not in SECLUDED.get(room, {target}):
            yield f"{path}:{line}: {room} may not import {target}"
        elif FLOOR_OF[target] >= FLOOR_OF.get(room, 0) and (room, target) not in NEIGHBOURS:
            own, other = FLOOR_OF.get(room, 0), FLOOR_OF[target]
            yield f"{path}:{line}: {room} (floor {own}) imports {target} (floor {other})"


def library_violations(house: Path) -> Iterator[str]:
    """Libraries outside their room, and any library in a room that lives on the standard library."""
    for path, room, name, line in _imports(house):
        library = name.split(".")[0]
        if library == "chatmesh" or library in sys.stdlib_module_names:
            continue
        if room not in OWNERS.get(library, {room}):
            yield f"{path}:{line}: {room} imports {library}, which only {_names(OWNERS[library])} may"
        if library not in FRUGAL.get(room, {library}):
            yield f"{path}:{line}: {room} imports {library}; it may import {_names({'stdlib', *FRUGAL[room]})}"


def purity_violations(house: Path, pure: tuple[str, ...] = PURE) -> Iterator[str]:
    """Coroutines in files that decide, and entries of the list that name nothing."""
    for entry in pure:
        place = house / entry
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        if not all(file.is_file() for file in files) or not files:
            yield f"{entry}: PURE names it, but there is no such file or folder"
            continue
        for file in files:
            for node in ast.walk(_parsed(file)):
                if isinstance(node, ASYNC_NODES) or (isinstance(node, ast.comprehension) and node.is_async):
                    yield f"{_shown(file, house)}:{getattr(node, 'lineno', '?')}: a file that decides has no async"


def length_violations(house: Path) -> Iterator[str]:
    """Files that grew past what one reads in one sitting."""
    for file in sorted(house.rglob("*.py")):
        lines = file.read_text(encoding="utf-8").count("\n")
        if lines > MAX_LINES:
            yield f"{_shown(file, house)}: {lines} lines, {MAX_LINES} are allowed"


def _imports(house: Path) -> Iterator[tuple[str, str, str, int]]:
    """(file, its room, absolute dotted name, line) of every import; `from a import b` gives `a.b`."""
    for file in sorted(house.rglob("*.py")):
        inside = file.relative_to(house).with_suffix("").parts
        package = ["chatmesh", *inside[:-1]]
        for node in ast.walk(_parsed(file)):
            for name in _imported_by(node, package):
                yield _shown(file, house), inside[0], name, getattr(node, "lineno", 0)


def _imported_by(node: ast.AST, package: list[str]) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            above = package[: len(package) - level + 1] if level else []
            base = ".".join([*above, *([module] if module else [])])
            return [f"{base}.{alias.name}" for alias in names]
        case ast.Call(
            func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name]
    return []


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def _shown(file: Path, house: Path) -> str:
    return file.relative_to(house.parent).as_posix()


def _names(names: set[str]) -> str:
    return " and ".join(sorted(names))


Check = Callable[[Path], Iterator[str]]
CHECKS = (room_violations, library_violations, purity_violations, length_violations)


@pytest.mark.parametrize("check", CHECKS)
def test_house_stands(check: Check) -> None:
    found = list(check(HOUSE))
    assert not found, "\n" + "\n".join(found)


VIOLATIONS = [
    # floors
    ("config/tree.py", "from chatmesh.broker import Broker", "config (floor 1) imports broker (floor 2)"),
    ("hub.py", "import chatmesh.app", "hub (floor 3) imports app (floor 5)"),
    ("relay/batcher.py", "from chatmesh.hub.order import Order", "relay (floor 3) imports hub (floor 3)"),
    ("relay/batcher.py", "from chatmesh import hub", "relay (floor 3) imports hub (floor 3)"),
    ("relay/batcher.py", "from ..hub import Order", "relay (floor 3) imports hub (floor 3)"),
    ("relay/__init__.py", "from .. import hub", "relay (floor 3) imports hub (floor 3)"),
    ("client/reader.py", "import chatmesh.web.server as s", "client (floor 2) imports web (floor 2)"),
    ("telemetry.py", "import chatmesh.config", "telemetry (floor 1) imports config (floor 1)"),
    (
        "kernel/actor.py",
        "from chatmesh.errors import ChatmeshError",
        "kernel (floor 0) imports errors (floor 0)",
    ),
    ("devbroker/server.py", "from chatmesh.config import Config", "devbroker may not import config"),
    ("attic/box.py", "import os", "attic stands on no floor"),
    ("__init__.py", "from chatmesh.app import run", "__init__ (floor 0) imports app (floor 5)"),
    ("hub/x.py", "def f():\n    import chatmesh.cli", "hub (floor 3) imports cli (floor 6)"),
    (
        "hub/x.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from chatmesh.relay import B",
        "hub/x.py:3: hub (floor 3) imports relay (floor 3)",
    ),
    ("hub/x.py", "import importlib\nimportlib.import_module('chatmesh.app')", "hub (floor 3) imports app"),
    # libraries
    ("hub/x.py", "import nats.aio.client", "hub imports nats, which only broker may"),
    (
        "web/x.py",
        "from httpx import AsyncClient",
        "web imports httpx, which only client and identity and providers may",
    ),
    ("ingress/x.py", "from aiohttp import web", "ingress imports aiohttp, which only web may"),
    ("kernel/x.py", "import orjson", "kernel imports orjson; it may import stdlib"),
    (
        "protocol/x.py",
        "import pydantic",
        "protocol imports pydantic; it may import cryptography and orjson and stdlib",
    ),
    ("devbroker/x.py", "import nats", "devbroker imports nats, which only broker may"),
    # purity
    ("protocol/x.py", "async def f(): ...", "chatmesh/protocol/x.py:1: a file that decides has no async"),
    ("protocol/sub/x.py", "async def f():\n    await g()", "x.py:2: a file that decides has no async"),
    # length
    ("relay/long.py", "x = 1\n" * 451, "chatmesh/relay/long.py: 451 lines, 450 are allowed"),
]


@pytest.mark.parametrize(("file", "source", "expected"), VIOLATIONS)
def test_checker_bites(tmp_path: Path, file: str, source: str, expected: str) -> None:
    house = _house(tmp_path, file, source)
    assert expected in "\n".join(violation for check in CHECKS for violation in check(house))


def test_checker_asks_for_a_mended_list_when_a_pure_file_is_gone(tmp_path: Path) -> None:
    house = _house(tmp_path, "relay/batching.py", "x = 1")
    assert not list(purity_violations(house, ("relay/batching.py", "relay")))
    assert len(list(purity_violations(house, ("relay/gone.py", "attic")))) == 2


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("ingress/x.py", "from chatmesh.web import Server\nfrom chatmesh.protocol import tokens"),
        (
            "protocol/x.py",
            "import orjson, re\nfrom chatmesh.errors import ProtocolError\nfrom . import tokens",
        ),
        ("__main__.py", "from chatmesh.cli import main"),
        ("cli/x.py", "from chatmesh import __version__, app\nfrom chatmesh.operate import doctor"),
        ("broker/x.py", "import nats\nasync def f():\n    await g()"),
        ("relay/x.py", "x = 1\n" * 450),
    ],
)
def test_checker_lets_good_modules_pass(tmp_path: Path, file: str, source: str) -> None:
    house = _house(tmp_path, file, source)
    checks = (room_violations, library_violations, length_violations)
    assert [violation for check in checks for violation in check(house)] == []


def _house(tmp_path: Path, file: str, source: str) -> Path:
    path = tmp_path / "chatmesh" / file
    path.parent.mkdir(parents=True)
    path.write_text(source, encoding="utf-8")
    return tmp_path / "chatmesh"
