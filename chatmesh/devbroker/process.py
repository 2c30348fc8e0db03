"""The child process of one start: begun on a leash, known to be ours, ended. Knows no port choice and no lock."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path

from chatmesh.devbroker.greeting import read_server_name
from chatmesh.devbroker.log import ServerLog
from chatmesh.errors import BrokerError, BrokerUnreachableError, PortInUseError

_LEASH = Path(__file__).with_name("leash.py")
# A listener that accepts and says nothing must not hold up the look at whether our own server died.
_GREETING_SECONDS = 1.0


async def spawn(executable: Path, config_file: Path, *, stderr: int, keep_open: int) -> Process:
    """Begin the server in a session of its own, tied to this process's life; it inherits `keep_open`."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", _LEASH, str(os.getpid())),
        *(executable, "-c", config_file),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=stderr,
        start_new_session=True,
        pass_fds=[keep_open],
    )


async def wait_until_ours_answers(
    process: Process, name: str, port: int, log: ServerLog, *, timeout_seconds: float
) -> None:
    """Return when the server on `port` has our name: another one there must never be taken for ours.

    Raises `PortInUseError` or `BrokerError` if the process ended, `BrokerUnreachableError` if the time is over.
    """
    pause_seconds = 0.002  # the server listens after about 10 ms
    try:
        async with asyncio.timeout(timeout_seconds):
            while process.returncode is None:
                if await read_server_name(port, timeout_seconds=_GREETING_SECONDS) == name:
                    return
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 1.5, 0.1)
    except TimeoutError as error:
        raise BrokerUnreachableError(
            f"The embedded nats-server did not answer in {timeout_seconds:g} s",
            where=f"127.0.0.1:{port}",
            mend=_excerpt(log),
        ) from error
    raise _died(process.returncode, port, log)


async def end(process: Process | None, timeout_seconds: float) -> None:
    """SIGTERM, then SIGKILL after `timeout_seconds` (at once if 0), and reap. Also when cancelled meanwhile."""
    if process is None or process.returncode is not None:
        return
    try:
        if timeout_seconds > 0:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _died(code: int, port: int, log: ServerLog) -> BrokerError | PortInUseError:
    if any("address already in use" in line for line in log.last_lines(20)):
        return PortInUseError(
            "The embedded broker's port is taken",
            where=f"127.0.0.1:{port}",
            mend="Choose another port, or 0 for a random one.",
        )
    return BrokerError(
        f"The embedded nats-server ended at once with exit code {code}",
        where=str(log.path.parent),
        mend=_excerpt(log),
    )


def _excerpt(log: ServerLog) -> str:
    lines = log.last_lines(8) or ["(none)"]
    return "\n".join([f"Its last log lines (all in {log.path}):", *lines])
