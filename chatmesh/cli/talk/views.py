"""Where an answer is shown as it comes: plain text. What is no text of it goes to stderr."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Protocol

from chatmesh.cli.talk.words import safe


class View(Protocol):
    """Of one answer. `say` may raise BrokenPipeError: nobody reads any more."""

    def begin(self) -> None: ...

    def say(self, text: str) -> None: ...

    def think(self, text: str) -> None: ...

    def call(self, line: str) -> None: ...

    def anew(self, line: str) -> None: ...

    def note(self, line: str) -> None: ...

    def end(self) -> None: ...


class PlainView:
    """Text to stdout as it comes, as it is into a pipe, and without a terminal's orders onto one; all else to stderr.
    Nobody waits for a newline: each piece is flushed."""

    def __init__(self, *, is_quiet: bool = False, has_thoughts: bool = False) -> None:
        """`is_quiet`: nothing of the answer is shown."""
        self._is_quiet = is_quiet
        self._has_thoughts = has_thoughts
        self._is_terminal = sys.stdout.isatty()
        self._is_shared = self._is_terminal and sys.stderr.isatty()
        self._has_line = False  # the last line of stdout is not at its end
        self._is_thinking = False

    def begin(self) -> None:
        self._has_line = False

    def say(self, text: str) -> None:
        if self._is_quiet or not text:
            return
        self._end_thoughts()
        sys.stdout.write(safe(text) if self._is_terminal else text)
        sys.stdout.flush()
        self._has_line = not text.endswith("\n")

    def think(self, text: str) -> None:
        if self._has_thoughts and not self._is_quiet:
            sys.stderr.write(safe(text))
            sys.stderr.flush()
            self._is_thinking = not text.endswith("\n")

    def call(self, line: str) -> None:
        self.note(line)

    def anew(self, line: str) -> None:
        """What was shown stays there; the new text begins on a line of its own."""
        self.note(line)
        if self._has_line and not self._is_quiet:
            if not self._is_shared:  # else `note` has ended the line
                sys.stdout.write("\n")
                sys.stdout.flush()
            self._has_line = False

    def note(self, line: str) -> None:
        self._end_thoughts()
        begin = "\n" if self._is_shared and self._has_line else ""
        with suppress(BrokenPipeError):
            print(f"{begin}{line}", file=sys.stderr, flush=True)

    def end(self) -> None:
        self._end_thoughts()
        if self._has_line:
            sys.stdout.write("\n")
            sys.stdout.flush()
        self._has_line = False

    def _end_thoughts(self) -> None:
        if self._is_thinking:
            print(file=sys.stderr, flush=True)
        self._is_thinking = False
