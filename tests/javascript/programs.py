"""Programs for Node that use the browser's client, and what they say."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import chatmesh
from tests.support.node import NODE
from tests.support.waiting import eventually

CLIENT = Path(chatmesh.__file__).parent / "web" / "client"
PROGRAMS = Path(__file__).parent / "node"
PATIENCE_SECONDS = 30.0

Line = dict[str, Any]


class Program:
    """One that runs. `lines` is all that it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[Line] = []

    async def listen(self) -> None:
        """Until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(json.loads(line))

    async def ends(self) -> None:
        """Returns once it has ended by itself."""
        await self._process.wait()

    def tell(self, tab: int, what: str) -> None:
        """A command for one of its streams."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"tab": tab, "do": what}).encode() + b"\n")

    def heard(self, *kinds: str, tab: int = 0) -> list[Line]:
        """What one of its tabs has heard, of these kinds only."""
        return [line for line in self.lines if line.get("tab") == tab and line["type"] in kinds]

    def ids(self, tab: int = 0) -> list[int]:
        return [line["chunk"]["chunk_id"] for line in self.heard("chunk", tab=tab)]

    async def says(self, condition: Callable[[], object]) -> None:
        """Returns once the condition holds."""
        await eventually(
            condition, timeout=PATIENCE_SECONDS, message=f"what the program should say; it said {self.lines}"
        )


@asynccontextmanager
async def running(name: str, url: str, **settings: Any) -> AsyncIterator[Program]:
    """The program `node/NAME.mjs`; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *(NODE, PROGRAMS / f"{name}.mjs", url, json.dumps(settings)),
        env={**os.environ, "CLIENT": str(CLIENT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=16 * 1024 * 1024,
    )
    program = Program(process)
    listener = asyncio.create_task(program.listen())
    try:
        yield program
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listener


async def said(name: str, url: str, **settings: Any) -> list[Line]:
    """All that a program says that ends by itself."""
    async with running(name, url, **settings) as program, asyncio.timeout(PATIENCE_SECONDS):
        await program.ends()
    return program.lines
