"""The chat page for everybody: with the keyboard alone, with a screen reader, for axe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.chat import Chat
from tests.browser.chromium import Chromium, Tab
from tests.browser.doing import MARKDOWN, click, wait
from tests.support.node import installed

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FOCUSED = "document.activeElement.textContent.trim() || document.activeElement.ariaLabel || document.activeElement.id"


async def test_everything_is_reached_with_the_keyboard(chromium: Chromium, server: str) -> None:
    chat = await Chat.open(chromium, server)
    await chat.choose("echo")
    await chat.send("```js\nlet a;\n```")
    await chat.wait_done()
    reached = []
    for _ in range(12):
        await chat.tab.press("Tab")
        reached.append(await chat.tab.evaluate(FOCUSED))
    for name in ("Chats", "New chat", "Copy", "let a;", "Ask again", "Send", "Pull the plug"):
        assert name in reached, reached
    await chat.tab.evaluate("document.getElementById('open-chats').focus()")
    await chat.tab.press("Enter")
    await wait(chat.tab, "document.getElementById('chats').open")
    await chat.tab.press("Escape")
    await wait(chat.tab, "!document.getElementById('chats').open")
    assert await chat.tab.evaluate("document.activeElement.id") == "open-chats"


async def test_screen_reader_is_told_each_paragraph_once_it_is_whole(chromium: Chromium, server: str) -> None:
    chat = await Chat.open(chromium, server)
    await chat.tab.evaluate(
        "window.spoken = []; new MutationObserver((changes) => changes.forEach(({ addedNodes }) =>"
        " addedNodes.forEach((node) => spoken.push(node.textContent))))"
        ".observe(document.getElementById('voice'), { childList: true }); 1"
    )
    await chat.choose("echo")
    paragraphs = ["First one.", "Second one.", "```js\nlet a;\n```", "Fourth one."]
    await chat.send("\n\n".join(paragraphs))
    await chat.wait_done()
    await wait(chat.tab, "window.spoken.length === 4")
    assert await chat.tab.evaluate("window.spoken") == [*paragraphs[:2], "Code in js.", paragraphs[3]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
async def test_axe_finds_nobody_left_out(chromium: Chromium, server: str, scheme: str, width: int) -> None:
    axe = (
        installed(Path(__file__).parent / "node", "who the page leaves out is")
        / "node_modules/axe-core/axe.min.js"
    )
    chat = await Chat.open(chromium, server)
    await chat.tab.resize(width, 800)
    await chat.tab.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    await chat.choose("echo")
    await chat.send(MARKDOWN)
    await chat.wait_done()
    await chat.choose("count")
    await chat.send("count")
    await chat.send("waits")
    await wait(chat.tab, "document.querySelectorAll('.answer')[1].textContent.length > 5")
    await chat.tab.evaluate(f"{axe.read_text()}; 1")
    assert await violations(chat.tab) == []
    assert await chat.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await click(chat.tab, "#open-chats")
    await wait(chat.tab, "document.querySelectorAll('#chats a').length === 1")
    assert await violations(chat.tab) == []


async def violations(tab: Tab) -> list[str]:
    """What axe-core says against the page as it is now."""
    found: list[dict[str, Any]] = await tab.evaluate("axe.run().then(({ violations }) => violations)")
    return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found]
