"""Where a person types: a line editor on a terminal, else lines as they come."""

from __future__ import annotations

import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from chatmesh.errors import ConfigError

PROMPT = "> "
MORE = ". "
"""After a line that ends with a backslash."""

_HISTORY_LINES = 1000
_LOCAL_FLAGS = 3
"""Where `tcgetattr` has them."""


class Prompt:
    """`ask` raises EOFError at the end, KeyboardInterrupt at Ctrl-C. `offer` puts text into the next line, to be edited or
    sent as it is; without an editor, Enter alone sends it."""

    def __init__(self, *, is_plain: bool, history_file: Path | None) -> None:
        self.is_person = sys.stdin.isatty()
        # Importing it changes what `input` does: without it a terminal gets no escape codes.
        has_editor = self.is_person and sys.stdout.isatty() and not is_plain
        self._readline = _readline() if has_editor else None
        self._history_file = history_file
        self._offered = ""
        if self._readline is not None and history_file is not None:
            self._load(self._readline, history_file)

    @property
    def has_editor(self) -> bool:
        return self._readline is not None

    def ask(self) -> str:
        """What was typed; several lines where one ended with a backslash, or was pasted so."""
        offered, self._offered = self._offered, ""
        lines = [self._line(PROMPT, offered)]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(self._line(MORE))
        typed = "\n".join(lines)
        return offered if self._readline is None and not typed.strip() else typed

    @contextmanager
    def hushed(self) -> Iterator[None]:
        """While an answer is drawn, keys leave no trace in it; what is typed ahead comes at the next prompt."""
        if self._readline is None:
            yield
            return
        before = termios.tcgetattr(sys.stdin)
        quiet = [*before]
        quiet[_LOCAL_FLAGS] = before[_LOCAL_FLAGS] & ~termios.ECHO
        termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
        try:
            yield
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)

    def offer(self, text: str) -> None:
        self._offered = text

    def close(self) -> None:
        """Keeps what was typed, where that is wanted. Raises ConfigError where it can't."""
        if self._readline is None or self._history_file is None:
            return
        try:
            self._readline.set_history_length(_HISTORY_LINES)
            self._readline.write_history_file(self._history_file)
        except OSError as error:
            raise ConfigError(
                f"can't write there: {error.strerror}", where=str(self._history_file)
            ) from error

    def _line(self, prompt: str, offered: str = "") -> str:
        readline = self._readline
        if readline is not None:
            readline.set_startup_hook(lambda: readline.insert_text(offered))
            return input(prompt)
        if self.is_person:
            print(prompt, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.removesuffix("\n")

    @staticmethod
    def _load(readline: ModuleType, file: Path) -> None:
        try:
            with suppress(FileNotFoundError):
                readline.read_history_file(file)
        except OSError as error:
            what = f"the typed lines can't be read ({error.strerror})"
            raise ConfigError(what, where=str(file), mend="Give --history-file another file.") from error


def _readline() -> ModuleType | None:
    try:
        import readline  # noqa: PLC0415 - not in every Python, and not for everybody
    except ImportError:
        return None
    readline.set_auto_history(True)
    return readline
