"""A process of this program that is kept running: a service like any other, so that a supervisor begins it again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from chatmesh.devbroker import leash
from chatmesh.errors import ChatmeshError, Exit
from chatmesh.kernel import Service
from chatmesh.operate.processes.readiness import VARIABLE, Readiness

LOOK_SECONDS = 3600.0
"""How long one look for readiness takes; one that starts slowly is looked at again."""


class ProcessEndedError(ChatmeshError):
    """It ended though nobody asked it to. What it had to say of that stands above, in its own words."""

    def __init__(self, name: str, code: int) -> None:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        super().__init__(f"{name} {how}", mend="Why stands in the log above.")
        self.exit_code = Exit(code) if code in set(Exit) and code != Exit.OK else Exit.FAILED


class KeptProcess(Service):
    """It writes where we write, gets no terminal's signals, and on Linux dies with us, however we die."""

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._name = name
        self._command = command
        # What systemd tells is told to us.
        self._environ = {key: value for key, value in environ.items() if not key.startswith("WATCHDOG_")}
        self._process: Process | None = None
        self._is_draining = False

    async def run(self, started: Callable[[], None]) -> None:
        readiness = Readiness(Path(tempfile.gettempdir()))
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid())),
                *self._command,
                stdin=DEVNULL,
                env=self._environ | {VARIABLE: readiness.address},
                start_new_session=True,
            )
            if self._is_draining:
                self._send(signal.SIGTERM)
            if await _is_ready(readiness, process):
                started()
            code = await process.wait()
        finally:
            self._send(signal.SIGKILL)
            if self._process is not None:
                await self._process.wait()
            readiness.close()
        if not self._is_draining:
            raise ProcessEndedError(self._name, code)

    def drain(self) -> None:
        self._is_draining = True
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


async def _is_ready(readiness: Readiness, process: Process) -> bool:
    """Returns when it says so, or has ended without."""
    ready = asyncio.create_task(readiness.wait(LOOK_SECONDS))
    ended = asyncio.create_task(process.wait())
    try:
        await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
        return ready.done() and ready.result()
    finally:
        ready.cancel()
        ended.cancel()
