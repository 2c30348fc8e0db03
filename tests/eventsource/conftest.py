"""All readers under one name, and what they asked the pods for."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from chatmesh.hub.streams import EventStreams
from chatmesh.web import Request, Response
from tests.browser import firefox
from tests.browser.chromium import _FLAGS, _START_SECONDS, EXECUTABLE, Chromium, _address
from tests.browser.firefox import Firefox
from tests.eventsource.sources import (
    PROGRAMS,
    Opens,
    chromium_source,
    firefox_source,
    httpx_source,
    node_source,
)
from tests.support.children import Child
from tests.support.node import installed
from tests.support.waiting import eventually


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The `Last-Event-ID` of every request for a stream that reached a pod, oldest first; None where there was none."""
    headers: list[str | None] = []
    events = EventStreams.events

    async def recording(self: EventStreams, request: Request) -> Response:
        headers.append(request.headers.get("Last-Event-ID"))
        return await events(self, request)

    monkeypatch.setattr(EventStreams, "events", recording)
    return headers


@pytest.fixture(
    params=[
        "httpx",
        pytest.param("node", marks=pytest.mark.slow),
        pytest.param("chromium", marks=[pytest.mark.browser, pytest.mark.slow]),
        pytest.param("firefox", marks=[pytest.mark.browser, pytest.mark.slow]),
    ]
)
def opens(request: pytest.FixtureRequest) -> Opens:
    """Opens a URL with an EventSource: every test is a promise to each of them."""
    fixture: Opens = request.getfixturevalue(f"opens_in_{request.param}")
    return fixture


@pytest.fixture(scope="session")
def programs() -> Path:
    """The program for Node beside its packages."""
    return installed(PROGRAMS, "npm's EventSource is")


@pytest.fixture
def opens_in_httpx() -> Opens:
    return httpx_source


@pytest.fixture
def opens_in_node(programs: Path, tmp_path: Path) -> Opens:
    return partial(node_source, programs, tmp_path)


class Browser:
    """One Chromium for all tests of a module: each has a connection to it and a tab of its own."""

    def __init__(self, directory: Path) -> None:
        self._profile, self._output = directory / "chromium", directory / "chromium.output"
        self._child: Child | None = None

    async def connect(self, http: aiohttp.ClientSession) -> Chromium:
        """Starts it for the first one."""
        if self._child is None:
            command = [EXECUTABLE, *_FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
            self._child = Child(command, stdout=self._output, stderr=self._output)
        child = self._child
        url = await eventually(
            lambda: _address(child, self._profile, self._output),
            timeout=_START_SECONDS,
            message="an answer of Chromium",
        )
        return Shared(child, http, await http.ws_connect(url, max_msg_size=0))

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()


class Shared(Chromium):
    """A connection to a browser that outlives it."""

    async def stop(self) -> None:
        """Closes what this test has opened, and leaves the browser to the next one."""
        pages = (await self.call("Target.getTargets"))["targetInfos"]
        for page in pages:
            if page["type"] == "page" and page["url"] != "about:blank":
                await self.call("Target.closeTarget", targetId=page["targetId"])
        await self._socket.close()
        await self._listener


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Where there is none the test is skipped, but never in continuous integration."""
    if not EXECUTABLE.exists() and "CI" not in os.environ:
        pytest.skip(f"needs {EXECUTABLE}: apt-get install chromium")
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.kill()


@pytest.fixture
async def opens_in_chromium(browser: Browser) -> AsyncIterator[Opens]:
    async with aiohttp.ClientSession() as http:
        chromium = await browser.connect(http)
        yield partial(chromium_source, chromium)
        await chromium.stop()


@pytest.fixture(scope="module")
def running_firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Child, Path]]:
    """One Firefox for all tests of a module, and its folder."""
    directory = tmp_path_factory.mktemp("browser") / "firefox"
    child = firefox.launch(firefox.found(), directory)
    yield child, directory
    child.kill()


@pytest.fixture
async def opens_in_firefox(running_firefox: tuple[Child, Path]) -> AsyncIterator[Opens]:
    async with aiohttp.ClientSession() as http:
        browser = await Firefox.connect(*running_firefox, http)
        yield partial(firefox_source, browser)
        await browser.stop()
