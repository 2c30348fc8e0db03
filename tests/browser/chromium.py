"""Debian's Chromium without a window, driven over the Chrome DevTools protocol: https://chromedevtools.github.io."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.support.children import Child
from tests.support.waiting import eventually

EXECUTABLE = Path("/usr/bin/chromium")

_FLAGS = (
    "--headless",
    "--no-sandbox",  # tests may run as root, which Chromium's sandbox refuses
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
# Starting takes about a second; a loaded machine with two cores has been seen to take ten.
_START_SECONDS = 30.0
_ANSWER_SECONDS = 20.0

_KEYS = {
    "Enter": (13, "\r"),
    "Tab": (9, ""),
    "Escape": (27, ""),
    " ": (32, " "),
    "Home": (36, ""),
    "End": (35, ""),
    "ArrowRight": (39, ""),
}


class Chromium:
    """One browser with a fresh profile. Its end is the test's: use the fixture `chromium`."""

    def __init__(
        self, child: Child, http: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse
    ) -> None:
        self._child = child
        self._http = http
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._tabs: dict[str, Tab] = {}
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, directory: Path) -> Self:
        """A browser that answers; its profile and output lie in `directory`."""
        profile, output = directory / "chromium", directory / "chromium.output"
        command = [EXECUTABLE, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        child = Child(command, stdout=output, stderr=output)
        http = aiohttp.ClientSession()
        try:
            url = await eventually(
                lambda: _address(child, profile, output),
                timeout=_START_SECONDS,
                message="an answer of Chromium",
            )
            return cls(child, http, await http.ws_connect(url, max_msg_size=0))
        except BaseException:
            child.kill()
            await http.close()
            raise

    async def stop(self) -> None:
        """Ends it by force and reaps it."""
        self._child.kill()
        self._listener.cancel()
        await asyncio.wait([self._listener])
        await self._socket.close()
        await self._http.close()

    async def open(self, url: str, *, width: int = 1280, height: int = 800) -> Tab:
        """A new tab, in a window of its own so that it is visible, which goes to `url`. What goes wrong from its first byte on is in the tab's `errors`."""
        target = await self.call("Target.createTarget", url="about:blank", newWindow=True)
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        tab = self._tabs[attached["sessionId"]] = Tab(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            await tab.call(f"{domain}.enable")
        await tab.resize(width, height)
        await tab.go(url)
        return tab

    async def call(self, method: str, *, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """A command and its result. `session`: that of a tab; None for the browser itself."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send_json(message if session is None else message | {"sessionId": session})
            answer = await asyncio.wait_for(self._answers[number], _ANSWER_SECONDS)
        finally:
            del self._answers[number]
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    async def _listen(self) -> None:
        async for message in self._socket:
            body = json.loads(message.data)
            if (waiting := self._answers.get(body.get("id"))) is not None:
                if not waiting.done():
                    waiting.set_result(body)
            elif (tab := self._tabs.get(body.get("sessionId"))) is not None:
                tab.hear(body["method"], body["params"])


class Tab:
    """A page. `errors` are uncaught exceptions, console errors and warnings, refusals by the content security policy,
    and requests that failed."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session
        self.errors: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, to this tab."""
        return await self._browser.call(method, session=self._session, **parameters)

    async def go(self, url: str) -> None:
        """Begin to load `url`."""
        await self.call("Page.navigate", url=url)

    async def reload(self) -> None:
        """As the reload button does; returns when the old page is gone."""
        await self.evaluate("window.isOld = true")
        await self.call("Page.reload")
        await eventually(
            lambda: self.evaluate("!window.isOld && document.readyState === 'complete'"), timeout=30
        )

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def run_first(self, script: str) -> None:
        """From now on, run `script` in every page of this tab before the page's own."""
        await self.call("Page.addScriptToEvaluateOnNewDocument", source=script)

    async def type(self, text: str) -> None:
        """Text into whatever has the focus, as a keyboard or an input method gives it."""
        await self.call("Input.insertText", text=text)

    async def press(self, key: str, *, shift: bool = False) -> None:
        """One key, down and up: one of `_KEYS`."""
        code, text = _KEYS[key]
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def turn_wheel(self, pixels: int) -> None:
        """Scroll, with the mouse over the page: up where `pixels` is below 0."""
        await self.call("Input.dispatchMouseEvent", type="mouseWheel", x=200, y=200, deltaX=0, deltaY=pixels)

    async def resize(self, width: int, height: int) -> None:
        """The size of the page in CSS pixels."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def prefer(self, **features: str) -> None:
        """Media features, with `_` for `-`: `prefers_color_scheme="dark"`."""
        pairs = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        await self.call("Emulation.setEmulatedMedia", features=pairs)

    async def screenshot(self) -> bytes:
        """What is seen now, as PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot"))["data"])

    def hear(self, method: str, parameters: dict[str, Any]) -> None:
        """An event of the protocol."""
        if (describe := _DESCRIBE.get(method)) is not None and (text := describe(parameters)) is not None:
            self.errors.append(text)


def _exception(parameters: dict[str, Any]) -> str:
    details = parameters["exceptionDetails"]
    return f"exception: {details.get('exception', {}).get('description', details['text'])}"


def _console(parameters: dict[str, Any]) -> str | None:
    if parameters["type"] not in ("error", "warning", "assert"):
        return None
    return f"console: {[argument.get('value') for argument in parameters['args']]}"


def _log(parameters: dict[str, Any]) -> str | None:
    entry = parameters["entry"]
    if entry["level"] not in ("error", "warning"):
        return None
    return f"{entry['source']}: {entry['text']} {entry.get('url', '')}"


_DESCRIBE: dict[str, Callable[[dict[str, Any]], str | None]] = {
    "Runtime.exceptionThrown": _exception,
    "Runtime.consoleAPICalled": _console,
    "Log.entryAdded": _log,
}


def _address(child: Child, profile: Path, output: Path) -> str | None:
    """Where the browser listens: it writes the port and the path into its profile."""
    if not child.is_running:
        raise RuntimeError(f"Chromium ended at start:\n{output.read_text(errors='replace')[-4000:]}")
    port_file = profile / "DevToolsActivePort"
    lines = port_file.read_text().splitlines() if port_file.exists() else []
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}" if len(lines) == 2 else None
