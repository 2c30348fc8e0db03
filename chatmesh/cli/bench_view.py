"""How a benchmark stands, on stderr: lines that are redrawn on a terminal, and nothing elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chatmesh.cli.redrawn import Redrawn
from chatmesh.operate.bench import BY_NAME, Progress, tables
from chatmesh.operate.bench.measured import Run

BAR_CELLS = 30
OVER_LINES = 6
"""The latest runs that are over."""


@contextmanager
def view() -> Iterator[Callable[[Progress], None]]:
    """What takes the progress."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    drawn, began = Redrawn(), time.monotonic()
    try:
        yield lambda progress: drawn.draw(lines(progress, time.monotonic() - began))
    finally:
        drawn.clear()


def lines(progress: Progress, seconds: float) -> list[str]:
    """What is shown after so many seconds."""
    run = progress.run
    done = f" {progress.done} of {progress.of}" if progress.of else ""
    return [
        f"run {progress.number} of {progress.runs}  {_bar(progress)}  {_minutes(seconds)}{_left(progress, seconds)}",
        f"round {run.round}, {run.scenario}, {run.side}: {progress.phase}{done}",
        *(_over(run) for run in progress.over[-OVER_LINES:]),
    ]


def _bar(progress: Progress) -> str:
    share = progress.done / progress.of if progress.of else 0.0
    full = round((progress.number - 1 + share) / progress.runs * BAR_CELLS)
    return "█" * full + "░" * (BAR_CELLS - full)


def _left(progress: Progress, seconds: float) -> str:
    """As long as the runs before took."""
    over = progress.number - 1
    if not over:
        return ""
    return f", about {_minutes(seconds / over * (progress.runs - over))} to go"


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _over(run: Run) -> str:
    """The first figures of a run that is over."""
    name = f"  {run.round}  {run.scenario:<8} {run.side:<5} "
    if not run.is_result:
        return f"{name} VOID"
    figures = [figure for figure in BY_NAME[run.scenario].figures if figure.key in run.figures]
    return name + ", ".join(
        f"{figure.title} {tables.number(run.figures[figure.key])} {figure.unit}" for figure in figures[:2]
    )
