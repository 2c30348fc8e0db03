"""The chat page in Firefox: what a reader does there as anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.browser.chat import Chat, only_grew, told
from tests.browser.firefox import Firefox, found, launch
from tests.support.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
async def firefox(tmp_path: Path) -> AsyncIterator[Firefox]:
    """A browser of this test alone."""
    directory = tmp_path / "firefox"
    child = launch(found(), directory)
    try:
        async with aiohttp.ClientSession() as http:
            firefox = await Firefox.connect(child, directory, http)
            yield firefox
            await firefox.stop()
    finally:
        child.kill()


async def test_answer_grows_goes_on_behind_a_reload_and_is_stopped(
    firefox: Firefox, server: str, http: aiohttp.ClientSession
) -> None:
    chat = await Chat.open(firefox, server)
    await chat.send("first")
    shown = await chat.wait_done()
    texts = await chat.texts()
    assert len(texts) > 10
    assert only_grew(texts)
    assert shown[0]["answer"].endswith("You wrote: first")

    await chat.send("second")
    await chat.wait_answer(longer_than=20)
    await firefox.reload()
    shown = await chat.wait_done(turns=2)
    assert only_grew(await chat.texts())
    assert [(turn["said"], turn["answer"]) for turn in shown] == await told(
        http, server, await chat.session_id
    )

    await firefox.evaluate("document.getElementById('text').focus()")
    await chat.send("third")
    await chat.wait_answer(longer_than=20)
    await firefox.press("Escape")
    await eventually(lambda: _is_stopped(chat), message="the end of what was stopped")
    assert "You wrote" not in (await chat.turns())[-1]["answer"]
    assert firefox.errors == []


async def _is_stopped(chat: Chat) -> bool:
    last = (await chat.turns())[-1]
    return (last["state"], last["note"]) == ("stopped", "Stopped.")
