"""What the tests of `chat` and `send` share."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chatmesh.app import Mesh
from tests.cli.support import Run

RUN_SECONDS = 60.0


def url_of(mesh: Mesh) -> str:
    assert mesh.server is not None, "this mesh serves no HTTP"
    return mesh.server.url


@asynccontextmanager
async def sending(
    directory: Path, *arguments: str, piped: bytes | None = None, environment: dict[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`chatmesh send ARGUMENTS…` while it runs, with pipes as stdout and stderr; `piped` on its stdin, else nothing."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chatmesh", "send", *arguments),
        cwd=directory,
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL if piped is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    if process.stdin is not None and piped is not None:
        process.stdin.write(piped)
        process.stdin.close()
    try:
        async with asyncio.timeout(RUN_SECONDS):
            yield process
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def rest_of(process: asyncio.subprocess.Process) -> Run:
    """Its end, and what it said that nobody has read."""
    stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return Run(process.returncode, stdout.decode(), stderr.decode())


async def send(
    directory: Path, *arguments: str, piped: bytes | None = None, environment: dict[str, str] | None = None
) -> Run:
    """`chatmesh send ARGUMENTS…`, to its end."""
    async with sending(directory, *arguments, piped=piped, environment=environment) as process:
        return await rest_of(process)


async def read_until(stream: asyncio.StreamReader | None, end: bytes) -> bytes:
    """What comes, up to `end`."""
    assert stream is not None
    return await stream.readuntil(end)
