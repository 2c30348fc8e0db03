"""A chat of the Vercel AI SDK in a process of its own, and what it shows."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.children import Child
from tests.support.node import NODE
from tests.support.waiting import eventually

SDKS = ["ai-7", "ai-6"]
"""Two versions of the package, as package.json names them; the newest one first."""

PROGRAMS = Path(__file__).parent / "node"

PATIENCE_SECONDS = 30.0
RESUME = {"resume": True}


@dataclass(frozen=True)
class Shown:
    """A chat at one moment. `done`: behind a step."""

    line: dict[str, Any]

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [message for message in self.line["messages"] if message["role"] == "assistant"]

    @property
    def parts(self) -> list[dict[str, Any]]:
        """Of the last answer."""
        return (
            [part for part in self.answers[-1]["parts"] if part["type"] != "step-start"]
            if self.answers
            else []
        )

    @property
    def text(self) -> str:
        return "".join(part["text"] for part in self.parts if part["type"] == "text")

    @property
    def status(self) -> str:
        return str(self.line["status"])

    @property
    def error(self) -> str | None:
        error: str | None = self.line.get("error")
        return error


class Chat:
    """What the program says."""

    def __init__(self, child: Child, output: Path, errors: Path) -> None:
        self._child = child
        self._output = output
        self._errors = errors

    async def shows(self, condition: Callable[[Shown], object]) -> Shown:
        """The first moment for which the condition holds."""

        def look() -> Shown | None:
            ended = not self._child.is_running
            found = next((shown for shown in self._lines() if condition(shown)), None)
            if found is None and ended:
                raise RuntimeError(self._errors.read_text())
            return found

        shown: Shown = await eventually(look, timeout=PATIENCE_SECONDS, message="what the chat should show")
        return shown

    async def is_done(self, steps: int = 1) -> Shown:
        """Behind so many steps."""

        def count(_: Shown) -> bool:
            return len(self._done()) >= steps

        await self.shows(count)
        return self._done()[steps - 1]

    def _done(self) -> list[Shown]:
        return [shown for shown in self._lines() if shown.line["done"]]

    def _lines(self) -> list[Shown]:
        whole = self._output.read_text().rpartition("\n")[0]
        return [Shown(json.loads(line)) for line in whole.splitlines()]


Chats = Callable[..., AbstractAsyncContextManager[Chat]]


@asynccontextmanager
async def chat(
    programs: Path, sdk: str, directory: Path, url: str, *steps: object, id: str = "c", **options: Any
) -> AsyncIterator[Chat]:
    """A chat that takes its steps one after the other. `sdk`: the package that it is of. `options`: messages that it knows,
    the body's further keys."""
    own = Path(tempfile.mkdtemp(prefix="chat-", dir=directory))
    output, errors = own / "out", own / "err"
    script = json.dumps({"sdk": sdk, "api": f"{url}/api/chat", "id": id, "steps": steps, **options})
    child = Child([NODE, "chat.mjs", script], stdout=output, stderr=errors, cwd=programs)
    try:
        yield Chat(child, output, errors)
    finally:
        await asyncio.to_thread(child.kill)
