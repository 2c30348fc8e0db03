"""docs/http.md and the server agree: routes, error codes with their statuses, reasons of a reset."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from aiohttp import web

from chatmesh.app import Mesh
from chatmesh.config import load
from chatmesh.web.pages import ASIDE
from chatmesh.web.problem import from_http_exception
from tests.docs.pages import ROOT, page, rows

HTTP = page("docs/http.md")


def test_every_error_code_is_on_the_page_and_in_the_code() -> None:
    named = {(int(cells[0]), cells[1].strip("`")) for cells in rows(HTTP.section("Errors"))}
    assert named == set(_raised())


def test_every_route_is_on_the_page_and_served() -> None:
    table = HTTP.section("Routes")
    named = {tuple(cells[0].strip("`").split(" ")) for cells in rows(table) if cells[0].startswith("`")}
    mesh = Mesh(load(None, environ={}, overrides=[], role="pod").config)
    mesh._pod()
    assert mesh.server is not None
    served = {(route.method, route.path) for route in mesh.server.routes}
    assert named == {route for route in served if not route[1].startswith(ASIDE)}


def test_every_reason_of_a_reset_is_on_the_page_and_in_the_code() -> None:
    table = HTTP.text.partition("| reason of a `reset` | |\n")[2].partition("\n\n")[0]
    named = {cells[0].strip("`") for cells in rows(table)}
    code = (ROOT / "chatmesh/hub/following.py").read_text() + (
        ROOT / "chatmesh/workflow/erasing.py"
    ).read_text()
    code += (ROOT / "chatmesh/hub/channel.py").read_text()
    reasons = set(re.findall(r'"(position_\w+|session_erased|gap)"', code))
    assert named == reasons


def _raised() -> Iterator[tuple[int, str]]:
    """Status and code of every problem that the server can answer with, but for the nameless `http_error`."""
    for path in (ROOT / "chatmesh").rglob("*.py"):
        if path.is_relative_to(ROOT / "chatmesh" / "config"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
                match node.args[:2]:
                    case [ast.Constant(value=int(status)), ast.Constant(value=str(code))]:
                        yield status, code
    for kind in web.__dict__.values():
        if isinstance(kind, type) and issubclass(kind, web.HTTPClientError) and kind.status_code in _PLAIN:
            problem = from_http_exception(kind())
            if problem.code != "http_error":
                yield problem.status, problem.code


_PLAIN = {400, 404, 417}  # constructors without arguments; 405 and 413 are raised in the code as well
