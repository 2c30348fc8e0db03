"""EventSources that are not ours, and what each of them heard: npm's in Node, and Chromium's own."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from tests.browser.chromium import Chromium, Tab
from tests.support.children import Child
from tests.support.waiting import eventually

PROGRAMS = Path(__file__).parent / "node"

# A reconnect takes up to 3 s, a few may follow each other, and Node may take seconds to start.
PATIENCE_SECONDS = 30.0

_CLOSED = 2


@dataclass(frozen=True)
class Heard:
    """Every event of an EventSource, oldest first: its type, its data, and the source's `readyState` at that time."""

    events: list[dict[str, Any]]

    def named(self, name: str) -> list[Any]:
        """What the events of one type said."""
        return [json.loads(event["data"]) for event in self.events if event["type"] == name]

    def count(self, name: str) -> int:
        """How often: `open` is each answer with status 200, `error` each end, cut or refusal."""
        return sum(event["type"] == name for event in self.events)

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return self.named("message")

    @property
    def ids(self) -> list[int]:
        return [chunk["chunk_id"] for chunk in self.chunks]

    @property
    def finals(self) -> int:
        return sum(chunk["is_final"] for chunk in self.chunks)

    @property
    def is_closed(self) -> bool:
        """It gave up for good: it will never ask again."""
        return any(event["state"] == _CLOSED for event in self.events)


class Source:
    """An EventSource that somebody else wrote."""

    def __init__(self, look: Callable[[], Awaitable[list[dict[str, Any]]]]) -> None:
        self._look = look

    async def hears(self, condition: Callable[[Heard], object]) -> Heard:
        """All that it heard, once the condition holds for that."""
        heard = Heard([])

        async def holds() -> bool:
            nonlocal heard
            heard = Heard(await self._look())
            assert condition(heard), heard.events[-3:]
            return True

        await eventually(holds, timeout=PATIENCE_SECONDS, message="what the EventSource should hear")
        return heard


Opens = Callable[[str], AbstractAsyncContextManager[Source]]
"""Opens a URL; at the end the source is closed."""


@asynccontextmanager
async def node_source(programs: Path, directory: Path, url: str) -> AsyncIterator[Source]:
    """npm's `eventsource`, in a process of its own."""
    output, errors = directory / "source.out", directory / "source.err"
    command = [shutil.which("node") or "node", "source.mjs", url]
    child = Child(command, stdout=output, stderr=errors, cwd=programs)

    async def look() -> list[dict[str, Any]]:
        if not child.is_running:
            raise RuntimeError(errors.read_text())
        whole = output.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    try:
        yield Source(look)
    finally:
        await asyncio.to_thread(child.kill)


@asynccontextmanager
async def chromium_source(browser: Chromium, url: str) -> AsyncIterator[Source]:
    """Chromium's own, in a page of the URL's origin that has no scripts."""
    tab = await browser.open(urljoin(url, "/healthz"))
    await eventually(lambda: _is_loaded(tab), message="a page of the mesh's origin")
    watch = (PROGRAMS / "watch.mjs").read_text().replace("export ", "")
    await tab.evaluate(
        f"{watch}; window.heard = []; "
        f"window.source = watch(EventSource, {json.dumps(url)}, (event) => window.heard.push(event)); 0"
    )

    async def look() -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = await tab.evaluate("window.heard")
        return heard

    try:
        yield Source(look)
    finally:
        await tab.evaluate("window.source.close()")


async def _is_loaded(tab: Tab) -> bool:
    loaded: bool = await tab.evaluate(
        "location.pathname === '/healthz' && document.readyState === 'complete'"
    )
    return loaded
