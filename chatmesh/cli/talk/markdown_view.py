"""An answer on a terminal, as markdown while it is written.

Blocks that are finished go into the scrollback, for good; only the last one is drawn again as it grows, its end only
where it is taller than the screen. So an answer may be of any length.
"""

from __future__ import annotations

import asyncio
import sys
from typing import ClassVar

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

from chatmesh.cli.talk.blocks import Blocks
from chatmesh.cli.talk.words import safe

REDRAW_SECONDS = 0.06
"""Between two pictures: fast for an eye, and little work for a slow terminal."""

# Bold and the terminal's own colours, no backgrounds: it has to be calm on black and on white.
_THEME = Theme(
    {
        "markdown.h1": "bold",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.h4": "bold",
        "markdown.h5": "italic",
        "markdown.h6": "italic",
        "markdown.code": "cyan",
        "markdown.hr": "dim",
        "markdown.item.bullet": "default",
        "markdown.item.number": "default",
        "markdown.block_quote": "italic",
    }
)


def terminal() -> Console:
    """Stdout, as a terminal."""
    return Console(file=sys.stdout, theme=_THEME, highlight=False, markup=False, emoji=False)


class _Heading(Heading):
    """At the left, where one reads."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _Code(CodeBlock):
    """Without the empty lines around it: there is one between any two blocks."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        yield Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True, padding=(0, 1))


class _Markdown(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
    }


def markdown(text: str) -> Markdown:
    """A link shows where it leads: the text is somebody else's."""
    return _Markdown(text, code_theme="ansi_dark", hyperlinks=False)


class MarkdownView:
    """Of one answer after the other, on `console`. Used in the loop's thread only."""

    def __init__(self, console: Console, *, has_thoughts: bool = False) -> None:
        self._console = console
        self._has_thoughts = has_thoughts
        self._blocks = Blocks()
        self._thoughts = ""
        self._note = ""
        self._is_first = True
        self._live: Live | None = None
        self._redraw: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        self._blocks, self._thoughts, self._note, self._is_first = Blocks(), "", "", True
        self._live = Live(
            _Growing(self),
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._live.start(refresh=True)

    def say(self, text: str) -> None:
        self._end_thoughts()
        finished = self._blocks.feed(safe(text))
        if finished.strip():
            self._keep(markdown(finished))
        self._draw_soon()

    def think(self, text: str) -> None:
        if self._has_thoughts:
            self._thoughts += safe(text)
            self._draw_soon()

    def call(self, line: str) -> None:
        self._end_block()
        self._keep(Text(line, style="dim"))

    def anew(self, line: str) -> None:
        self._end_block()
        self._keep(Text(line, style="dim"))

    def note(self, line: str) -> None:
        """Below the text, until the next one; the last one stays."""
        self._note = line
        self._draw_now()

    def end(self) -> None:
        rest = self._blocks.end()
        if self._redraw is not None:
            self._redraw.cancel()
            self._redraw = None
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._print_thoughts()
        if rest.strip():
            self._print(markdown(rest))
        if self._note:
            self._print(Text(self._note, style="dim"))

    # --- drawing -------------------------------------------------------------------------------------------------------

    def picture(self, console: Console, options: ConsoleOptions) -> list[list[Segment]]:
        """The lines that are drawn again and again."""
        if self._live is None:
            return []
        shown: Text | Markdown = Text(self._thoughts, style="dim")
        if not self._thoughts:
            shown = markdown(self._blocks.open)
        lines = console.render_lines(shown, options, pad=False) if self._thoughts or self._blocks.open else []
        if lines and not self._is_first:
            lines.insert(0, [])
        if self._note:
            lines += console.render_lines(Text(self._note, style="dim"), options, pad=False)
        # Two lines less than the screen: the cursor's own, and one for what scrolls.
        return lines[-max(1, options.size.height - 2) :]

    def _keep(self, what: Markdown | Text) -> None:
        """Into the scrollback, above what grows."""
        self._print(what)
        self._draw_now()

    def _print(self, what: Markdown | Text) -> None:
        self._console.print(what if self._is_first else Group("", what))
        self._is_first = False

    def _end_block(self) -> None:
        self._end_thoughts()
        rest = self._blocks.end()
        if rest.strip():
            self._keep(markdown(rest))

    def _end_thoughts(self) -> None:
        if self._thoughts:
            self._print_thoughts()
            self._draw_now()

    def _print_thoughts(self) -> None:
        thoughts, self._thoughts = self._thoughts.strip(), ""
        if thoughts:
            self._print(Text(thoughts, style="dim"))

    def _draw_soon(self) -> None:
        if self._redraw is None:
            self._redraw = asyncio.get_running_loop().call_later(REDRAW_SECONDS, self._draw_now)

    def _draw_now(self) -> None:
        if self._redraw is not None:
            self._redraw.cancel()
            self._redraw = None
        if self._live is not None:
            self._live.refresh()


class _Growing:
    """What of a view is not final yet, for rich."""

    def __init__(self, view: MarkdownView) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self._view.picture(console, options)
        for number, line in enumerate(lines):
            yield from line
            if number < len(lines) - 1:
                yield Segment.line()
