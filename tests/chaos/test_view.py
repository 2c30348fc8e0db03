"""What one sees while it runs: a table that is redrawn on a terminal, lines elsewhere; never on stdout."""

from __future__ import annotations

from collections import Counter

import pytest

from chatmesh.cli.chaos_view import view
from chatmesh.operate.chaos import Fault, Progress


def progress(phase: str, seconds: float) -> Progress:
    return Progress(phase, seconds, 5, 4, 100, Counter({Fault.POD_KILL: 2}), "pod-kill 1", 0)


def test_lines_come_with_each_phase_and_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with view(60) as tell:
        for seconds in range(12):
            tell(progress("faults", seconds))
        tell(progress("checking", 12))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(" of")[0] for line in err.splitlines()] == [
        "faults, second 0",
        "faults, second 5",
        "faults, second 10",
        "checking, second 12",
    ]


def test_table_on_a_terminal_is_redrawn_in_its_place_and_taken_back(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with view(60) as tell:
        tell(progress("faults", 1))
        tell(progress("faults", 2))
    out, err = capsys.readouterr()
    assert out == ""
    first, second, end = err.split("\x1b[6A\x1b[J")
    assert "second 1 of 60" in first
    assert "second 2 of 60" in second
    assert "pod-kill" in second
    assert end == ""
