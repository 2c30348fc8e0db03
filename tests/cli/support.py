"""What the tests of the command line share."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.processes import Process

StartProcess = Callable[..., Process]

QUICK_SECONDS = 60.0
"""A command that does not stay is ended by force after so long; on an idle machine it takes less than a second."""


@dataclass(frozen=True)
class Run:
    """How a command ended, and what it said."""

    code: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout + self.stderr


Chatmesh = Callable[..., Run]
"""Runs a command to its end: arguments, and `env` beside the test's own environment."""


def run_chatmesh(directory: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Run:
    """`chatmesh ARGUMENTS…`, to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "chatmesh", *arguments],
        cwd=directory,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=QUICK_SECONDS,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


def run_on_terminal(directory: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """`chatmesh ARGUMENTS…` with a terminal as its stderr, to its end; what it wrote there."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "chatmesh", *arguments],
        cwd=directory,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=slave,
    )
    os.close(slave)
    try:
        return _read_all(master)
    finally:
        os.close(master)
        process.wait(timeout=QUICK_SECONDS)


def _read_all(descriptor: int) -> str:
    data = b""
    while True:
        try:
            more = os.read(descriptor, 65536)
        except OSError:  # EIO: what a terminal says when nobody holds its other end any more
            return data.decode()
        if not more:
            return data.decode()
        data += more


@dataclass(frozen=True)
class Dev:
    """A running `chatmesh dev` and what its banner says."""

    process: Process
    url: str
    nats_url: str
    data: Path
    kept: str

    @property
    def server_pid(self) -> int:
        """Its nats-server."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        (server,) = [child for child in children if child.name() == "nats-server"]
        return server.pid


async def start_dev(start: StartProcess, *arguments: str, env: Mapping[str, str] | None = None) -> Dev:
    """`chatmesh dev --port 0 ARGUMENTS…`; returns once the whole banner is there."""
    process = start("dev", "--port", "0", *arguments, env=env)
    await process.wait_for_line("Stop: .*Ctrl-C", stream="stdout")
    banner = process.stdout
    data = _find(r"Data +(.+?)  \((.+)\)", banner)
    return Dev(
        process,
        _find(r"Chat page +(\S+?)/$", banner)[1],
        _find(r"NATS +(\S+)", banner)[1],
        Path(data[1]),
        data[2],
    )


def _find(pattern: str, text: str) -> re.Match[str]:
    found = re.search(pattern, text, re.MULTILINE)
    assert found, f"{pattern!r} is not in:\n{text}"
    return found


def log_lines(stderr: str) -> list[dict[str, object]]:
    """Every line as the JSON object that it has to be."""
    return [json.loads(line) for line in stderr.splitlines()]


def is_alive(pid: int) -> bool:
    """Whether that process lives; one that waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
