"""Where a conversation is shown: a terminal with markdown, or plain text. What is told beside it is dim, and goes to
stderr where stdout may be somebody's data."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from chatmesh.cli.talk.views import PlainView, View
from chatmesh.cli.talk.words import safe

if TYPE_CHECKING:
    from rich.console import Console


class Room:
    """`view` is for answers; `tell` for lines beside them, `complain` for what went wrong."""

    def __init__(self, *, is_plain: bool, has_thoughts: bool) -> None:
        self.is_plain = is_plain or not sys.stdout.isatty() or os.environ.get("TERM") in ("dumb", None)
        self._console: Console | None = None
        self.view: View = PlainView(has_thoughts=has_thoughts)
        if not self.is_plain:
            # Only here: a pipe needs no rich.
            from chatmesh.cli.talk.markdown_view import MarkdownView, terminal  # noqa: PLC0415

            self._console = terminal()
            self.view = MarkdownView(self._console, has_thoughts=has_thoughts)

    def tell(self, line: str) -> None:
        self._print(line, "dim")

    def complain(self, line: str) -> None:
        self._print(line, "red")

    def typed(self, text: str) -> None:
        """What somebody said before."""
        self._print("\n".join(f"> {line}" for line in text.split("\n")), "bold")

    def answer(self, text: str) -> None:
        """What was answered before."""
        if self._console is not None:
            from chatmesh.cli.talk.markdown_view import markdown  # noqa: PLC0415

            self._console.print(markdown(safe(text)))
            return
        self.view.begin()
        self.view.say(text)
        self.view.end()

    def gap(self) -> None:
        """An empty line between two turns, where somebody looks."""
        if self._console is not None:
            self._console.print()

    def _print(self, line: str, style: str) -> None:
        shown = safe(line)
        if self._console is None:
            print(shown, file=sys.stderr, flush=True)
        else:
            self._console.print(shown, style=style, soft_wrap=True)
