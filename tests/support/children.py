"""A child process of a test: paused, killed and always reaped by its pid, and gone when pytest is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from chatmesh.devbroker import leash
from tests.support.waiting import eventually

# An end takes well under a second, or what the program grants itself; a loaded machine with two cores has been seen to take ten.
_END_SECONDS = 30.0


class Child:
    """A program whose output goes to files: nothing blocks on a full pipe, and nothing is lost when it is killed."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        stdout: Path,
        stderr: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        with stdout.open("ab") as out, stderr.open("ab") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The program's pid; it stays known after its end."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; minus the signal's number if one killed it."""
        return self._process.poll()

    @property
    def is_running(self) -> bool:
        """True until it has ended (a paused one runs)."""
        return self.returncode is None

    def write(self, data: bytes) -> None:
        """Write to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens if the program has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, which also ends a paused program, and reap."""
        self._process.kill()
        self._process.wait()
        self.close_input()

    async def terminate(self, *, timeout: float = _END_SECONDS) -> int:  # noqa: ASYNC109 - handed to `eventually`
        """SIGTERM; returns the exit code. A program that does not end fails the test."""
        self.signal(signal.SIGTERM)
        return await self.wait(timeout=timeout)

    async def wait(self, *, timeout: float = _END_SECONDS) -> int:  # noqa: ASYNC109 - handed to `eventually`
        """The exit code, once the program has ended by itself."""
        await eventually(
            lambda: not self.is_running, timeout=timeout, message=f"the end of process {self.pid}"
        )
        self.close_input()
        return self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: it lives and its sockets stay open, but nothing in it moves. All of its threads stand on return."""
        self.signal(signal.SIGSTOP)
        # The signal is only sent so far: a thread may still answer. A process that ended instead stays to be reaped.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def close_input(self) -> None:
        """Its standard input has an end."""
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except BrokenPipeError:  # what was written last and never read
                return
