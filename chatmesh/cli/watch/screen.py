"""The screen of `chatmesh top`: drawn over and over in place, on the terminal's other screen."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chatmesh.cli.table import plain
from chatmesh.cli.watch import members, queue
from chatmesh.cli.watch.top import pace
from chatmesh.cli.watch.words import ago, share
from chatmesh.operate.overview import Frame

_AROUND = 10
"""Lines that are no row of a table: heads, sums, gaps."""

_MIN_ROWS = 3


class Screen:
    """Entered, it has the terminal; left, the terminal is as it was before."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._frame: Frame | None = None
        self._lost_since: float | None = None

    def __enter__(self) -> Self:
        self._live.__enter__()
        self._draw(Text("looking …"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def show(self, frame: Frame) -> None:
        self._frame, self._lost_since = frame, None
        self._draw(Group(_title(frame), *self._body(frame)))

    def lose(self, why: str) -> None:
        """The broker does not answer: what was seen last stays, and is told to be old."""
        now = time.monotonic()
        self._lost_since = self._lost_since or now
        seconds = ago(now - self._lost_since)
        banner = _line(f"The broker is away for {seconds}: {plain(why)}", "bold red")
        old = self._body(self._frame) if self._frame is not None else ()
        self._draw(Group(banner, *old))

    def _body(self, frame: Frame) -> Sequence[RenderableType]:
        room = self._console.size.height - _AROUND
        members_shown = min(len(frame.members.members), max(_MIN_ROWS, room // 2))
        return (
            _line(pace(frame.rates)),
            _fills(frame),
            Text(),
            _members(frame, members_shown),
            _line(members.summary(frame.members), "dim"),
            Text(),
            _queue(frame, max(_MIN_ROWS, room - members_shown)),
            _line(queue.summary(frame.queue), "dim"),
        )

    def _draw(self, what: RenderableType) -> None:
        self._live.update(what, refresh=True)


def _title(frame: Frame) -> Text:
    return _line(f"chatmesh top · {plain(frame.server)} · {frame.at} · Ctrl-C leaves", "bold")


def _line(text: str, style: str = "") -> Text:
    """One line, however narrow the terminal is."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _fills(frame: Frame) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for fill in frame.queue.streams:
        line.append(f"{fill.stream} ", style="dim")
        line.append(f"{share(fill.ratio)}  ", style=queue.fill_colour(fill))
    return line


def _members(frame: Frame, rows: int) -> Table:
    # Who lives stands first: there may be many that are no more.
    order = sorted(frame.members.members, key=lambda member: member.state != "alive")
    return _table(
        members.HEAD, [members.row(each) for each in order], [members.colour(each) for each in order], rows
    )


def _queue(frame: Frame, rows: int) -> Table:
    requests = frame.queue.requests
    return _table(
        queue.HEAD,
        [queue.row(each) for each in requests],
        [queue.COLOURS[each.stage] for each in requests],
        rows,
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], colours: Sequence[str], limit: int) -> Table:
    """Columns without frames; the last cell of each row in that row's colour."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in head:
        table.add_column(Text(name), no_wrap=True, overflow="ellipsis")
    for row, colour in list(zip(rows, colours, strict=True))[:limit]:
        table.add_row(*(Text(cell) for cell in row[:-1]), Text(row[-1], style=colour))
    return table
