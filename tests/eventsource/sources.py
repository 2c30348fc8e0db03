"""Readers of event streams that are not ours, and what each of them heard: httpx-sse, npm's EventSource in Node, and
those of Chromium and Firefox."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
from httpx_sse import ServerSentEvent, aconnect_sse

from tests.browser.chromium import Chromium, Tab
from tests.browser.firefox import Firefox
from tests.support.children import Child
from tests.support.node import NODE
from tests.support.waiting import eventually

PROGRAMS = Path(__file__).parent / "node"

# A reconnect takes up to 3 s, a few may follow each other, and Node may take seconds to start.
PATIENCE_SECONDS = 30.0

_CONNECTING, _OPEN, _CLOSED = 0, 1, 2
"""An EventSource's `readyState`."""


@dataclass(frozen=True)
class Heard:
    """Every event of an EventSource, oldest first: its type, its data, its position, and the source's `readyState` at that
    time."""

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
    def positions(self) -> list[str]:
        """Of the chunks. The last one is what the source sends back when it is cut now."""
        return [event["id"] for event in self.events if event["type"] == "message"]

    @property
    def finals(self) -> int:
        return sum(chunk["is_final"] for chunk in self.chunks)

    @property
    def is_closed(self) -> bool:
        """It gave up for good: it will never ask again."""
        return any(event["state"] == _CLOSED for event in self.events)


class Source:
    """An EventSource that somebody else wrote. Paused, it takes nothing of what comes until it is resumed."""

    def __init__(
        self,
        look: Callable[[], Awaitable[list[dict[str, Any]]]],
        *,
        pause: Callable[[], Awaitable[object]],
        resume: Callable[[], Awaitable[object]],
    ) -> None:
        self._look = look
        self.pause = pause
        self.resume = resume

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


class HttpxSource:
    """httpx-sse reads one stream, and leaves coming back to whoever uses it: here as WHATWG HTML has it."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url
        self._position = ""
        self._retry_seconds = 1.0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.heard: list[dict[str, Any]] = []

    async def pause(self) -> None:
        self._flowing.clear()

    async def resume(self) -> None:
        self._flowing.set()

    async def run(self) -> None:
        while await self._read():
            self._say("error", _CONNECTING)
            await asyncio.sleep(self._retry_seconds)
        self._say("error", _CLOSED)

    async def _read(self) -> bool:
        """One stream to its end. False: it is over for good."""
        headers = {"Last-Event-ID": self._position} if self._position else {}
        try:
            async with aconnect_sse(self._client, "GET", self._url, headers=headers) as stream:
                if stream.response.status_code != 200:
                    return False
                self._say("open", _OPEN)
                async for event in stream.aiter_sse():
                    self._take(event)
                    await self._flowing.wait()
        except httpx.TransportError:
            pass
        return True

    def _take(self, event: ServerSentEvent) -> None:
        self._position = event.id or self._position
        self._retry_seconds = event.retry / 1000 if event.retry is not None else self._retry_seconds
        if event.data:
            self._say(event.event, _OPEN, event.data)

    def _say(self, kind: str, state: int, data: str | None = None) -> None:
        self.heard.append({"type": kind, "data": data, "id": self._position, "state": state})


@asynccontextmanager
async def httpx_source(url: str) -> AsyncIterator[Source]:
    """httpx-sse, in the test's own loop."""
    async with httpx.AsyncClient(timeout=httpx.Timeout(20, read=60)) as client:
        source = HttpxSource(client, url)
        task = asyncio.create_task(source.run())

        async def look() -> list[dict[str, Any]]:
            if task.done():
                task.result()
            return list(source.heard)

        try:
            yield Source(look, pause=source.pause, resume=source.resume)
        finally:
            task.cancel()
            await asyncio.wait({task})


@asynccontextmanager
async def node_source(programs: Path, directory: Path, url: str, *way: str) -> AsyncIterator[Source]:
    """npm's `eventsource`, in a process of its own. `way`: a function of fetches.mjs, and what it is called with."""
    own = Path(tempfile.mkdtemp(prefix="source-", dir=directory))  # a test may have several
    output, errors = own / "out", own / "err"
    command = [NODE, "source.mjs", url, *way]
    child = Child(command, stdout=output, stderr=errors, cwd=programs)

    async def look() -> list[dict[str, Any]]:
        if not child.is_running:
            raise RuntimeError(errors.read_text())
        whole = output.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    try:
        stop, go = partial(asyncio.to_thread, child.pause), partial(asyncio.to_thread, child.resume)
        yield Source(look, pause=stop, resume=go)
    finally:
        await asyncio.to_thread(child.kill)


@asynccontextmanager
async def chromium_source(browser: Chromium, url: str) -> AsyncIterator[Source]:
    """Chromium's own, in a page of the URL's origin that has no scripts."""
    tab = await browser.open(urljoin(url, "/healthz"))
    await eventually(lambda: _is_loaded(tab), message="a page of the mesh's origin")
    await tab.evaluate(_watching(url))

    async def look() -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = await tab.evaluate("window.heard")
        return heard

    try:
        await tab.call("Debugger.enable")
        # It takes hold when the next event is about to be handled; the page's loading stands still then too.
        yield Source(
            look, pause=partial(tab.call, "Debugger.pause"), resume=partial(tab.call, "Debugger.resume")
        )
    finally:
        await tab.evaluate("window.source.close()")


@asynccontextmanager
async def firefox_source(browser: Firefox, url: str) -> AsyncIterator[Source]:
    """Firefox's own, in such a page."""
    await browser.go(urljoin(url, "/healthz"))
    await browser.evaluate(_watching(url))

    async def look() -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = await browser.evaluate("window.heard")
        return heard

    try:
        yield Source(look, pause=browser.pause, resume=browser.resume)
    finally:
        await browser.evaluate("window.source.close()")


def _watching(url: str) -> str:
    """A script that opens the URL, and notes what it hears."""
    watch = (PROGRAMS / "watch.mjs").read_text().replace("export ", "")
    return (
        f"{watch}; window.heard = []; "
        f"window.source = watch(EventSource, {json.dumps(url)}, (event) => window.heard.push(event)); 0"
    )


async def _is_loaded(tab: Tab) -> bool:
    loaded: bool = await tab.evaluate(
        "location.pathname === '/healthz' && document.readyState === 'complete'"
    )
    return loaded
