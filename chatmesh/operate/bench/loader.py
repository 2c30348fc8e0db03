"""The client's process, seen from the benchmark: a job goes in, what happens comes out line by line."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from chatmesh.devbroker import leash
from chatmesh.errors import ChatmeshError
from chatmesh.operate.bench.job import Job
from chatmesh.operate.bench.layout import Layout, on
from chatmesh.operate.processes import environment

LINE_BYTES = 1 << 20
COMMAND = (sys.executable, "-m", "chatmesh.operate.bench.load")


class Loader:
    """One job's."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log

    async def hear(self) -> dict[str, Any]:
        """What it says next: a dict with `at`. Raises ChatmeshError where it gives up or ends."""
        out = self._process.stdout
        line = await out.readline() if out is not None else b""
        if not line:
            words = self._log.read_text(errors="replace").splitlines()[-5:]
            raise ChatmeshError(
                f"the benchmark's client ended with {await self._process.wait()}",
                where=str(self._log),
                mend="\n".join(words),
            )
        said: dict[str, Any] = orjson.loads(line)
        if said["at"] == "failed":
            raise ChatmeshError(said["what"])
        return said

    async def go(self) -> None:
        """It goes on from where it waits."""
        await self.send(b"go\n")

    async def send(self, line: bytes) -> None:
        if self._process.stdin is not None:
            with suppress(ConnectionError):  # its end is told by `hear`
                self._process.stdin.write(line)
                await self._process.stdin.drain()


@asynccontextmanager
async def loader(job: Job, folder: Path, layout: Layout) -> AsyncIterator[Loader]:
    """Begins the client on its cores, and ends it."""
    path = folder / "client.log"
    with path.open("ab") as log, on(layout.client):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid())),
            *COMMAND,
            stdin=PIPE,
            stdout=PIPE,
            stderr=log,
            env=environment(os.environ),
            start_new_session=True,
            limit=LINE_BYTES,
        )
    try:
        client = Loader(process, path)
        await client.send(orjson.dumps(job.wire()) + b"\n")
        yield client
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()
