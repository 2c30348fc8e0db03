"""More tabs than a browser has connections to an origin: over HTTP/1.1 that is six."""

from __future__ import annotations

from itertools import pairwise

import aiohttp
import pytest

from tests.browser.chat import Chat
from tests.browser.chromium import Chromium
from tests.support.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]

COUNTED = " ".join(str(number) for number in range(1, 101))
WHOLE = "chunks 1–101, lost 0, repeated 0"
COUNTER = "document.querySelector('#plug .count').textContent"
TABS = 7


async def streams(http: aiohttp.ClientSession, server: str) -> float:
    """How many the pod serves."""
    async with http.get(f"{server}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("chatmesh_readers "))


async def test_seven_tabs_on_seven_sessions_are_live_on_one_connection_whichever_of_them_has_it(
    chromium: Chromium, slow_server: str, http: aiohttp.ClientSession
) -> None:
    chats = [await Chat.open(chromium, slow_server) for _ in range(TABS)]

    async def is_one() -> bool:
        assert await streams(http, slow_server) == 1
        return True

    for chat in chats:
        await chat.choose("count")
        await chat.send("count")
    for chat in chats:
        await chat.wait_answer(longer_than=5)
    await eventually(is_one, message="one stream for seven sessions")
    first, *others = chats  # the first one came first, so it reads for all
    session_id = await first.session_id
    await first.tab.call("Page.close")
    for chat in others:
        (shown,) = await chat.wait_done()
        assert shown["answer"] == COUNTED
        texts = await chat.texts()
        assert len(texts) > 10
        assert all(after.startswith(before) for before, after in pairwise(texts))
        assert await chat.tab.evaluate(COUNTER) == WHOLE
        assert chat.tab.errors == []
    await eventually(is_one, message="one stream for those who are left")
    again = await Chat.open(chromium, f"{slow_server}/?session={session_id}")
    assert (await again.wait_done())[0]["answer"] == COUNTED
