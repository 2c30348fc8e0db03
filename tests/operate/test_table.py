"""A table is aligned, and coloured for a person at a terminal only."""

from __future__ import annotations

import sys

import pytest

from chatmesh.cli import table

HEAD, ROWS = ("A", "B", ""), [("one", "2", "fine"), ("x", "long", "bad")]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_columns_are_aligned_and_plain_where_nobody_looks() -> None:
    assert table.render(HEAD, ROWS, ["green", "red"]).splitlines() == [
        "A    B",
        "one  2     fine",
        "x    long  bad",
    ]


@pytest.mark.usefixtures("terminal")
def test_terminal_gets_colour() -> None:
    lines = table.render(HEAD, ROWS, ["green", "red"]).splitlines()
    assert lines[1].endswith("\x1b[32mfine\x1b[0m")
    assert lines[2].endswith("\x1b[31mbad\x1b[0m")


@pytest.mark.usefixtures("terminal")
def test_row_without_a_colour_is_plain() -> None:
    assert table.render(HEAD, ROWS, ["", "red"]).splitlines()[1] == "one  2     fine"


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_terminal_whose_user_wants_no_colour_gets_none(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert "\x1b" not in table.render(HEAD, ROWS, ["green", "red"])
