"""The chat page in Firefox: what a reader does there as anywhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.browser.chat import IS_READY, TURNS, WATCH
from tests.browser.firefox import Firefox, found, launch
from tests.browser.test_page import only_grew, told
from tests.support.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ENTER, ESCAPE = "\ue007", "\ue00c"


class Page:
    """The chat page, with the focus in the composer."""

    def __init__(self, firefox: Firefox) -> None:
        self.firefox = firefox

    async def open(self, url: str) -> None:
        await self.firefox.run_first(WATCH)
        await self.firefox.go(url)
        await eventually(lambda: self.firefox.evaluate(IS_READY), message="the focus in the composer")

    async def say(self, text: str) -> None:
        await self.firefox.press(text + ENTER)

    async def turns(self) -> list[dict[str, str]]:
        turns: list[dict[str, str]] = json.loads(await self.firefox.evaluate(f"JSON.stringify({TURNS})"))
        return turns

    async def texts(self) -> list[str]:
        texts: list[str] = json.loads(await self.firefox.evaluate("JSON.stringify(window.texts)"))
        return texts

    async def has(self, state: str, *, longer_than: int = 0) -> list[dict[str, str]]:
        """All turns, once the last one is in that state and its answer has more than so many characters."""

        async def look() -> Any:
            turns = await self.turns()
            is_there = turns and turns[-1]["state"] == state and len(turns[-1]["answer"]) > longer_than
            return turns if is_there else None

        shown: list[dict[str, str]] = await eventually(look, timeout=20, message=f"a turn that is {state}")
        return shown

    @property
    async def session_id(self) -> str:
        session_id: str = await self.firefox.evaluate("new URL(location).searchParams.get('session')")
        return session_id


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """Where there is no Firefox the test is skipped, but never in continuous integration."""
    directory = tmp_path / "firefox"
    child = launch(found(), directory)
    try:
        async with aiohttp.ClientSession() as http:
            firefox = await Firefox.connect(child, directory, http)
            yield Page(firefox)
            await firefox.stop()
    finally:
        child.kill()


async def test_answer_grows_goes_on_behind_a_reload_and_is_stopped(
    page: Page, server: str, http: aiohttp.ClientSession
) -> None:
    await page.open(server)
    await page.say("first")
    shown = await page.has("done")
    texts = await page.texts()
    assert len(texts) > 10
    assert only_grew(texts)
    assert shown[0]["answer"].endswith("You wrote: first")

    await page.say("second")
    await page.has("open", longer_than=20)
    await page.firefox.reload()
    shown = await page.has("done")
    assert len(shown) == 2
    assert only_grew(await page.texts())
    assert [(turn["said"], turn["answer"]) for turn in shown] == await told(
        http, server, await page.session_id
    )

    await page.firefox.evaluate("document.getElementById('text').focus()")
    await page.say("third")
    await page.has("open", longer_than=20)
    await page.firefox.press(ESCAPE)
    stopped = (await page.has("stopped"))[-1]
    assert stopped["note"] == "Stopped."
    assert "You wrote" not in stopped["answer"]
    assert page.firefox.errors == []
