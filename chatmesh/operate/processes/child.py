"""A process of the test: begun on a leash, hit, begun again, always reaped. On Linux it dies with us, however we die."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from chatmesh.devbroker import leash


class Child:
    """One program under one name over all its lives. What it writes is appended to `log`, so nothing blocks on a pipe.

    `is_away`: somebody has ended it on purpose and will begin it again, so its end is no news.
    """

    def __init__(self, name: str, command: Sequence[str | Path], log: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        self.is_away = False
        self._command = command
        self._env = env
        self._process: Process | None = None
        self._said_to = 0

    @property
    def returncode(self) -> int | None:
        """None while it runs, and before its first life."""
        return None if self._process is None else self._process.returncode

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        self._said_to = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid())),
                *self._command,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                start_new_session=True,  # the terminal's Ctrl-C is for us
            )

    def said(self, text: str) -> bool:
        """Whether it has written that in this life. For the seconds after a start: it reads the whole log."""
        with self.log.open("rb") as log:
            log.seek(self._said_to)
            return text.encode() in log.read()

    def last_words(self, count: int = 3) -> str:
        """The end of what it wrote, for people."""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 4000))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-count:])

    def send(self, number: signal.Signals) -> None:
        """A signal; nothing happens where it has ended."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def wait(self, seconds: float) -> bool:
        """Whether it has ended within so many seconds."""
        if self._process is None:
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()
        return not self.is_running

    async def kill(self) -> None:
        """SIGKILL, which ends a frozen one too, and reap."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()
