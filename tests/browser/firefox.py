"""Debian's Firefox without a window, driven over WebDriver BiDi: https://w3c.github.io/webdriver-bidi."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest

from tests.support.children import Child
from tests.support.waiting import eventually

EXECUTABLE = Path("/usr/bin/firefox-esr")

_PREFERENCES = {
    "devtools.jsonview.enabled": False,  # JSON is shown as it came, in a page of its own origin
    "app.update.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}

# As WebDriver writes keys that are no letters.
_KEYS = {"Enter": "\ue007", "Escape": "\ue00c"}

# Starting takes about two seconds; a loaded machine with two cores takes many.
_START_SECONDS = 60.0
_ANSWER_SECONDS = 20.0


def found() -> Path:
    """The program. Where there is none the test is skipped, but never in continuous integration."""
    if not EXECUTABLE.exists() and "CI" not in os.environ:
        pytest.skip(f"needs {EXECUTABLE}: apt-get install firefox-esr")
    return EXECUTABLE


def launch(executable: Path, directory: Path) -> Child:
    """A browser with a fresh profile, which lies in `directory` with its output. Its end is the caller's."""
    directory.mkdir()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in _PREFERENCES.items()]
    (directory / "user.js").write_text("\n".join(lines))
    command = [executable, "--headless", "--no-remote", "--remote-debugging-port=0", "--profile", directory]
    output = directory / "output"
    return Child(command, stdout=output, stderr=output, env={**os.environ, "HOME": str(directory)})


class Firefox:
    """A tab of a running browser, which serves one of these at a time. `errors` are uncaught exceptions, and errors and warnings
    of the console."""

    def __init__(self, child: Child, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._child = child
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listener = asyncio.create_task(self._listen())
        self._tab = ""
        self.errors: list[str] = []

    @classmethod
    async def connect(cls, child: Child, directory: Path, http: aiohttp.ClientSession) -> Self:
        """Waits for a browser that was just launched."""
        url = await eventually(
            lambda: _address(child, directory), timeout=_START_SECONDS, message="an answer of Firefox"
        )
        firefox = cls(child, await http.ws_connect(url, max_msg_size=0))
        await firefox.call("session.new", capabilities={})
        await firefox.call("session.subscribe", events=["log.entryAdded"])
        firefox._tab = (await firefox.call("browsingContext.create", type="tab"))["context"]
        return firefox

    async def stop(self) -> None:
        """Closes the tab, and leaves the browser to the next one."""
        try:
            await self.call("browsingContext.close", context=self._tab)
            await self.call("session.end")
        finally:
            self._listener.cancel()
            await asyncio.wait([self._listener])
            await self._socket.close()

    async def go(self, url: str) -> None:
        """Loads `url`; returns when all of it is there."""
        await self.call("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    async def reload(self) -> None:
        """As the reload button does."""
        await self.call("browsingContext.reload", context=self._tab, wait="complete")

    async def run_first(self, script: str) -> None:
        """From now on, run `script` in every page of this tab before the page's own."""
        function = f"() => {{ {script} }}"
        await self.call("script.addPreloadScript", functionDeclaration=function, contexts=[self._tab])

    async def evaluate(self, script: str) -> Any:
        """The value of a script, as JSON has it; a promise is awaited."""
        answer = await self.call(
            "script.evaluate", expression=script, target={"context": self._tab}, awaitPromise=True
        )
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return _value(answer["result"])

    async def type(self, text: str) -> None:
        """Text into whatever has the focus, key by key."""
        await self._keys(text)

    async def press(self, key: str) -> None:
        """One key, down and up: one of `_KEYS`."""
        await self._keys(_KEYS[key])

    async def _keys(self, keys: str) -> None:
        actions = [{"type": way, "value": key} for key in keys for way in ("keyDown", "keyUp")]
        typing = {"type": "key", "id": "keyboard", "actions": actions}
        await self.call("input.performActions", context=self._tab, actions=[typing])

    async def pause(self) -> None:
        """Nothing is read from the network until `resume`: the process that does so stands still."""
        await asyncio.to_thread(self._child.pause)

    async def resume(self) -> None:
        await asyncio.to_thread(self._child.resume)

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command and its result."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send_json({"id": number, "method": method, "params": parameters})
            answer = await asyncio.wait_for(self._answers[number], _ANSWER_SECONDS)
        finally:
            del self._answers[number]
        assert answer["type"] == "success", f"{method}: {answer}"
        result: dict[str, Any] = answer["result"]
        return result

    async def _listen(self) -> None:
        async for message in self._socket:
            body = json.loads(message.data)
            waiting = self._answers.get(body.get("id"))
            if waiting is not None and not waiting.done():
                waiting.set_result(body)
            elif body.get("method") == "log.entryAdded" and body["params"]["level"] in ("error", "warn"):
                self.errors.append(body["params"]["text"])


def _value(told: dict[str, Any]) -> Any:
    """What BiDi tells of a value."""
    match told["type"]:
        case "array":
            return [_value(one) for one in told["value"]]
        case "object":
            return {name: _value(one) for name, one in told["value"]}
        case _:
            return told.get("value")


def _address(child: Child, directory: Path) -> str | None:
    """Where the browser listens: it writes that into its profile."""
    if not child.is_running:
        said = (directory / "output").read_text(errors="replace")
        raise RuntimeError(f"Firefox ended at start:\n{said[-4000:]}")
    told = directory / "WebDriverBiDiServer.json"
    if not told.exists() or not (text := told.read_text()):
        return None
    place = json.loads(text)
    return f"ws://{place['ws_host']}:{place['ws_port']}/session"
