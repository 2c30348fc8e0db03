"""A program on a real pseudo terminal: what it writes, what that looks like, and keys."""

from __future__ import annotations

import asyncio
import codecs
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

from tests.chat.screen import Screen
from tests.support.waiting import eventually

CTRL_C = "\x03"
CTRL_D = "\x04"
PATIENCE_SECONDS = 30.0

# Makes its stdin the controlling terminal, so that Ctrl-C is a signal.
_LAUNCH = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Terminal:
    """`chatmesh ARGUMENTS…`; `written` is every byte of it, `screen` what a person would see."""

    def __init__(self, directory: Path, *arguments: str, rows: int, columns: int) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.written = ""
        self._screen = Screen(rows, columns)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCH, sys.executable, "-m", "chatmesh", *arguments],
            cwd=directory,
            env=_environment(),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._master, self._read)

    @property
    def screen(self) -> str:
        return self._screen.text

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    @property
    def has_echo(self) -> bool:
        """Whether what is typed shows."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    async def see(self, text: str, *, times: int = 1) -> str:
        """The screen, once `text` stands there so often."""
        try:
            await eventually(lambda: self.screen.count(text) >= times, timeout=PATIENCE_SECONDS)
        except AssertionError:
            raise AssertionError(f"{text!r} is not there {times} times:\n{self.screen}") from None
        return self.screen

    async def prompt(self, times: int = 1) -> str:
        """The screen, once it waits for something to be typed, with an empty line, after so many summaries of answers."""

        def is_ready() -> bool:
            summaries = re.findall(r"^\d+ tokens? · ", self.screen, re.MULTILINE)
            return len(summaries) >= times and self.screen.rstrip().endswith("\n>")

        try:
            await eventually(is_ready, timeout=PATIENCE_SECONDS)
        except AssertionError:
            raise AssertionError(f"there is no prompt:\n{self.screen}") from None
        return self.screen

    async def end(self) -> int:
        """The exit code."""
        await eventually(lambda: self._process.poll() is not None, timeout=PATIENCE_SECONDS)
        return self._process.returncode

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._loop.remove_reader(self._master)
        os.close(self._master)

    def _read(self) -> None:
        try:
            text = self._decoder.decode(os.read(self._master, 65536))
        except OSError:  # EIO: nobody holds its other end any more
            self._loop.remove_reader(self._master)
            return
        self.written += text
        self._screen.feed(text)


def _environment() -> dict[str, str]:
    """Of a terminal of its own: what somebody has said of the size of theirs does not count."""
    kept = {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS", "NO_COLOR")}
    return kept | {"TERM": "xterm-256color"}
