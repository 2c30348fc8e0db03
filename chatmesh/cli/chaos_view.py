"""How a run of chaos stands, on stderr: a few lines that are redrawn on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chatmesh.cli.redrawn import Redrawn
from chatmesh.operate.chaos import Progress

LINE_SECONDS = 5.0
"""Between two lines where nobody watches."""


@contextmanager
def view(seconds: float) -> Iterator[Callable[[Progress], None]]:
    """What takes the progress of a run of `seconds`."""
    if not sys.stderr.isatty():
        yield _Lines(seconds).tell
        return
    drawn = Redrawn()
    try:
        yield lambda progress: drawn.draw(_table(progress, seconds))
    finally:
        drawn.clear()


class _Lines:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0
        self._phase = ""

    def tell(self, progress: Progress) -> None:
        if progress.phase == self._phase and progress.seconds < self._next:
            return
        self._phase, self._next = progress.phase, progress.seconds + LINE_SECONDS
        print("; ".join(_facts(progress, self._seconds)), file=sys.stderr, flush=True)


def _table(progress: Progress, seconds: float) -> list[str]:
    faults = [f"  {fault:<12} {count}" for fault, count in sorted(progress.faults.items())]
    return [*_facts(progress, seconds), *faults, f"last: {progress.last or '-'}"]


def _facts(progress: Progress, seconds: float) -> list[str]:
    return [
        f"{progress.phase}, second {progress.seconds:.0f} of {seconds:.0f}",
        f"{progress.messages} messages sent, {progress.answered} answered, {progress.chunks} chunks",
        f"{sum(progress.faults.values())} faults over",
        f"{progress.findings} violations seen",
    ]
